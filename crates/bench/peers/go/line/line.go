// Package line speaks the protocol of crates/bench/src/peers/program.rs for peers that are written in Go.
package line

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrMissing is what a peer answers that has no arrays.
var ErrMissing = errors.New("it adds no arrays")

// Peer does what a line says. Each of its methods ends once what it did is as safe as the server makes it.
type Peer interface {
	// Prepare removes all jobs; tables are there afterwards.
	Prepare(ctx context.Context) error
	// Open connects for so many submitters, and answers which versions these are and what is kept on disk.
	Open(ctx context.Context, submitters int) (string, error)
	// Fill queues so many jobs in the fastest way.
	Fill(ctx context.Context, jobs int) error
	// Add adds one job.
	Add(ctx context.Context) error
	// AddMany adds so many jobs at once, or answers ErrMissing.
	AddMany(ctx context.Context, jobs int) error
	// Drain starts workers, and answers how long it took until so many jobs were done.
	Drain(ctx context.Context, jobs int) (time.Duration, error)
	// Pickup starts workers, and answers how long each of so many jobs waited.
	Pickup(ctx context.Context, jobs int) ([]time.Duration, error)
	// Count answers how many jobs wait, and how many are done, or nil if those are not kept.
	Count(ctx context.Context) (int, *int, error)
	// Close ends everything.
	Close(ctx context.Context) error
}

type answer struct {
	Error   string  `json:"error,omitempty"`
	About   string  `json:"about,omitempty"`
	Missing string  `json:"missing,omitempty"`
	NS      *int64  `json:"ns,omitempty"`
	Each    []int64 `json:"each,omitempty"`
	Waiting *int    `json:"waiting,omitempty"`
	Done    *int    `json:"done,omitempty"`
}

// Obey does what standard input says until it ends.
func Obey(peer Peer) {
	ctx := context.Background()
	output := json.NewEncoder(os.Stdout)
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		if input.Text() == "end" {
			break
		}
		answered, err := do(ctx, peer, input.Text())
		if err != nil {
			answered = answer{Error: err.Error()}
		}
		if err := output.Encode(answered); err != nil {
			fail(err)
		}
	}
	if err := peer.Close(ctx); err != nil {
		fail(err)
	}
}

func do(ctx context.Context, peer Peer, line string) (answer, error) {
	command, rest, _ := strings.Cut(line, " ")
	var numbers []int
	for _, word := range strings.Fields(rest) {
		var number int
		if _, err := fmt.Sscanf(word, "%d", &number); err != nil {
			return answer{}, fmt.Errorf("%s is no number", word)
		}
		numbers = append(numbers, number)
	}
	switch {
	case command == "prepare" && len(numbers) == 0:
		return answer{}, peer.Prepare(ctx)
	case command == "open" && len(numbers) == 1:
		about, err := peer.Open(ctx, numbers[0])
		return answer{About: about}, err
	case command == "fill" && len(numbers) == 1:
		return answer{}, peer.Fill(ctx, numbers[0])
	case command == "drain" && len(numbers) == 1:
		took, err := peer.Drain(ctx, numbers[0])
		return timed(took), err
	case command == "submit" && len(numbers) == 2:
		begin := time.Now()
		err := Share(numbers[0], numbers[1], 1, func(int) error { return peer.Add(ctx) })
		return timed(time.Since(begin)), err
	case command == "bulk" && len(numbers) == 3:
		begin := time.Now()
		err := Share(numbers[0], numbers[1], numbers[2], func(jobs int) error { return peer.AddMany(ctx, jobs) })
		if errors.Is(err, ErrMissing) {
			return answer{Missing: ErrMissing.Error()}, nil
		}
		return timed(time.Since(begin)), err
	case command == "pickup" && len(numbers) == 1:
		times, err := peer.Pickup(ctx, numbers[0])
		each := make([]int64, len(times))
		for index, took := range times {
			each[index] = took.Nanoseconds()
		}
		return answer{Each: each}, err
	case command == "count" && len(numbers) == 0:
		waiting, done, err := peer.Count(ctx)
		return answer{Waiting: &waiting, Done: done}, err
	}
	return answer{}, fmt.Errorf("there is no command %s", line)
}

func timed(took time.Duration) answer {
	nanoseconds := took.Nanoseconds()
	return answer{NS: &nanoseconds}
}

// Share lets so many submitters add so many jobs, each in parts of at most this size, one after the other.
func Share(submitters, jobs, part int, add func(jobs int) error) error {
	var left atomic.Int64
	left.Store(int64(jobs))
	var work sync.WaitGroup
	failed := make([]error, submitters)
	for submitter := range submitters {
		work.Go(func() {
			for failed[submitter] == nil {
				before := left.Add(-int64(part)) + int64(part)
				if before <= 0 {
					return
				}
				failed[submitter] = add(int(min(before, int64(part))))
			}
		})
	}
	work.Wait()
	return errors.Join(failed...)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
