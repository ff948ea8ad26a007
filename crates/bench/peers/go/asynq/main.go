// asynq as a peer: see crates/bench/src/peers/program.rs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"slipstream.invalid/peers/line"
)

const (
	// jobs at once, and the time between two looks for more when there are none
	workers = 64
	check   = 2 * time.Millisecond
	// who adds at once while jobs are queued that are to be drained
	submitters = 256
	// between two looks whether all is done
	pause = time.Millisecond
	queue = "default"
)

type peer struct {
	options   asynq.RedisClientOpt
	redis     redis.UniversalClient
	client    *asynq.Client
	inspector *asynq.Inspector
	// at work, if it is
	server *asynq.Server
}

func main() {
	options, err := redis.ParseURL(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	line.Obey(&peer{options: asynq.RedisClientOpt{Addr: options.Addr, DB: options.DB}})
}

func (peer *peer) Prepare(ctx context.Context) error {
	client := peer.options.MakeRedisClient().(redis.UniversalClient)
	return errors.Join(client.FlushAll(ctx).Err(), client.Close())
}

func (peer *peer) Open(ctx context.Context, submitters int) (string, error) {
	options := peer.options
	options.PoolSize = max(submitters, workers)
	peer.redis = options.MakeRedisClient().(redis.UniversalClient)
	peer.client = asynq.NewClientFromRedisClient(peer.redis)
	peer.inspector = asynq.NewInspectorFromRedisClient(peer.redis)
	information, err := peer.redis.InfoMap(ctx, "server").Result()
	if err != nil {
		return "", err
	}
	settings, err := peer.redis.ConfigGet(ctx, "append*").Result()
	return fmt.Sprintf("asynq %s, %d workers, on Redis %s: appendonly %s, appendfsync %s",
		version("github.com/hibiken/asynq"), workers, information["Server"]["redis_version"],
		settings["appendonly"], settings["appendfsync"]), err
}

func (peer *peer) Fill(ctx context.Context, jobs int) error {
	return line.Share(submitters, jobs, 1, func(int) error { return peer.Add(ctx) })
}

func (peer *peer) Add(ctx context.Context) error {
	_, err := peer.client.EnqueueContext(ctx, asynq.NewTask("noop", nil))
	return err
}

func (peer *peer) AddMany(context.Context, int) error {
	return line.ErrMissing
}

// work starts workers that call this at the start of each job.
func (peer *peer) work(begin func()) error {
	options := peer.options
	options.PoolSize = workers
	peer.server = asynq.NewServer(options, asynq.Config{
		Concurrency:       workers,
		TaskCheckInterval: check,
		LogLevel:          asynq.ErrorLevel,
	})
	return peer.server.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		begin()
		return nil
	}))
}

// done waits until nothing is queued or at work: a job that is done is removed.
func (peer *peer) done(ctx context.Context) error {
	for {
		waiting, _, err := peer.Count(ctx)
		if err != nil || waiting == 0 {
			return err
		}
		time.Sleep(pause)
	}
}

func (peer *peer) Drain(ctx context.Context, jobs int) (time.Duration, error) {
	var ran atomic.Int64
	all := make(chan struct{})
	begin := time.Now()
	err := peer.work(func() {
		if ran.Add(1) == int64(jobs) {
			close(all)
		}
	})
	if err != nil {
		return 0, err
	}
	<-all
	err = peer.done(ctx)
	return time.Since(begin), err
}

func (peer *peer) Pickup(ctx context.Context, jobs int) ([]time.Duration, error) {
	begun := make(chan time.Time, 1)
	if err := peer.work(func() { begun <- time.Now() }); err != nil {
		return nil, err
	}
	times := make([]time.Duration, jobs)
	for index := range times {
		before := time.Now()
		if err := peer.Add(ctx); err != nil {
			return nil, err
		}
		times[index] = (<-begun).Sub(before)
		if err := peer.done(ctx); err != nil {
			return nil, err
		}
	}
	return times, nil
}

func (peer *peer) Count(context.Context) (int, *int, error) {
	information, err := peer.inspector.GetQueueInfo(queue)
	if errors.Is(err, asynq.ErrQueueNotFound) {
		// nothing was ever added
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	done := information.ProcessedTotal - information.FailedTotal
	return information.Size, &done, nil
}

func (peer *peer) Close(context.Context) error {
	if peer.server != nil {
		peer.server.Shutdown()
	}
	if peer.redis == nil {
		return nil
	}
	return peer.redis.Close()
}

// version is what was built in of a module.
func version(module string) string {
	if information, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range information.Deps {
			if dependency.Path == module {
				return strings.TrimPrefix(dependency.Version, "v")
			}
		}
	}
	return "of unknown version"
}
