// River as a peer: see crates/bench/src/peers/program.rs.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"slipstream.invalid/peers/line"
)

const (
	// jobs at once, and the shortest time between two looks for more
	workers = 2_000
	fetch   = 2 * time.Millisecond
	// connections that workers have, beside those of submitters
	connections = 10
	// jobs of an array while jobs are queued that are to be drained
	array      = 1_000
	submitters = 4
)

type noop struct{}

func (noop) Kind() string { return "noop" }

// worker says when it begins, if somebody listens.
type worker struct {
	river.WorkerDefaults[noop]
	begun chan<- time.Time
}

func (worker *worker) Work(context.Context, *river.Job[noop]) error {
	if worker.begun != nil {
		worker.begun <- time.Now()
	}
	return nil
}

type peer struct {
	url string
	// connections, and a client that only adds
	pool  *pgxpool.Pool
	adder *river.Client[pgx.Tx]
	// at work, if it is
	working *river.Client[pgx.Tx]
}

func main() {
	line.Obey(&peer{url: os.Args[1]})
}

func (peer *peer) connect(ctx context.Context, connections int) error {
	config, err := pgxpool.ParseConfig(peer.url)
	if err != nil {
		return err
	}
	config.MaxConns, config.MinConns = int32(connections), int32(connections)
	peer.pool, err = pgxpool.NewWithConfig(ctx, config)
	return err
}

func (peer *peer) Prepare(ctx context.Context) error {
	if err := peer.connect(ctx, 1); err != nil {
		return err
	}
	defer peer.pool.Close()
	if _, err := peer.pool.Exec(ctx, "DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public"); err != nil {
		return err
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(peer.pool), &rivermigrate.Config{Logger: logger()})
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

func (peer *peer) Open(ctx context.Context, submitters int) (string, error) {
	if err := peer.connect(ctx, max(submitters, connections)); err != nil {
		return "", err
	}
	// all connections at once, before anything is timed
	held := make([]*pgxpool.Conn, 0, submitters)
	for range submitters {
		connection, err := peer.pool.Acquire(ctx)
		if err != nil {
			return "", err
		}
		held = append(held, connection)
	}
	for _, connection := range held {
		connection.Release()
	}
	var err error
	if peer.adder, err = river.NewClient(riverpgxv5.New(peer.pool), &river.Config{Logger: logger()}); err != nil {
		return "", err
	}
	var server, synced, committed string
	settings := "SELECT current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit')"
	if err := peer.pool.QueryRow(ctx, settings).Scan(&server, &synced, &committed); err != nil {
		return "", err
	}
	return fmt.Sprintf("River %s, %d workers, on PostgreSQL %s: fsync %s, synchronous_commit %s",
		version("github.com/riverqueue/river"), workers, server, synced, committed), nil
}

func (peer *peer) Fill(ctx context.Context, jobs int) error {
	add := func(jobs int) error { return peer.AddMany(ctx, jobs) }
	if err := line.Share(submitters, jobs, array, add); err != nil {
		return err
	}
	for _, statement := range []string{"VACUUM ANALYZE river_job", "CHECKPOINT"} {
		if _, err := peer.pool.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func (peer *peer) Add(ctx context.Context) error {
	_, err := peer.adder.Insert(ctx, noop{}, nil)
	return err
}

func (peer *peer) AddMany(ctx context.Context, jobs int) error {
	array := make([]river.InsertManyParams, jobs)
	for index := range array {
		array[index].Args = noop{}
	}
	_, err := peer.adder.InsertManyFast(ctx, array)
	return err
}

// work starts workers. Answers a channel with an event for each job that is done, once that is committed.
func (peer *peer) work(ctx context.Context, jobs int, begun chan<- time.Time) (<-chan *river.Event, error) {
	known := river.NewWorkers()
	river.AddWorker(known, &worker{begun: begun})
	client, err := river.NewClient(riverpgxv5.New(peer.pool), &river.Config{
		FetchCooldown:     fetch,
		FetchPollInterval: fetch,
		Logger:            logger(),
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workers}},
		Workers:           known,
	})
	if err != nil {
		return nil, err
	}
	// of an event that finds no place nobody would ever hear
	done, _ := client.SubscribeConfig(&river.SubscribeConfig{
		ChanSize: jobs,
		Kinds:    []river.EventKind{river.EventKindJobCompleted},
	})
	peer.working = client
	return done, client.Start(ctx)
}

func (peer *peer) Drain(ctx context.Context, jobs int) (time.Duration, error) {
	begin := time.Now()
	done, err := peer.work(ctx, jobs, nil)
	if err != nil {
		return 0, err
	}
	for range jobs {
		<-done
	}
	return time.Since(begin), nil
}

func (peer *peer) Pickup(ctx context.Context, jobs int) ([]time.Duration, error) {
	begun := make(chan time.Time, 1)
	done, err := peer.work(ctx, jobs, begun)
	if err != nil {
		return nil, err
	}
	times := make([]time.Duration, jobs)
	for index := range times {
		before := time.Now()
		if err := peer.Add(ctx); err != nil {
			return nil, err
		}
		times[index] = (<-begun).Sub(before)
		<-done
	}
	return times, nil
}

func (peer *peer) Count(ctx context.Context) (int, *int, error) {
	var waiting, done int
	count := "SELECT count(*) FILTER (WHERE state <> 'completed'), count(*) FILTER (WHERE state = 'completed') FROM river_job"
	err := peer.pool.QueryRow(ctx, count).Scan(&waiting, &done)
	return waiting, &done, err
}

func (peer *peer) Close(ctx context.Context) error {
	if peer.working != nil {
		if err := peer.working.Stop(ctx); err != nil {
			return err
		}
	}
	if peer.pool != nil {
		peer.pool.Close()
	}
	return nil
}

// logger tells of errors only.
func logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
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
