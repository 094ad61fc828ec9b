// Command stream shows the client at work: it creates a stream, follows it live,
// appends through a session and through a producer, and reads all back.
//
//	SAMSA_ADDRESS=http://127.0.0.1:50052 go run ./pkg/client/examples/stream
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/samsa-io/samsa/pkg/client"
)

const (
	batches         = 10
	recordsPerBatch = 100
	singles         = 500
	total           = batches*recordsPerBatch + singles
)

func main() {
	address := os.Getenv("SAMSA_ADDRESS")
	if address == "" {
		address = "http://127.0.0.1:50052"
	}
	if err := run(context.Background(), address, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "stream:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address string, out io.Writer) error {
	say := log.New(out, "", 0) // for several goroutines
	c, err := client.New(address, client.WithToken(os.Getenv("SAMSA_TOKEN")))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()

	name := "example-" + uuid.NewString()
	if _, err := c.CreateBucket(ctx, name, client.BucketConfig{}); err != nil {
		return err
	}
	defer func() { _ = c.DeleteBucket(ctx, name) }()
	bucket := c.Bucket(name)
	if _, err := bucket.CreateStream(ctx, "greetings", client.StreamConfig{RetentionAge: new(24 * time.Hour)}); err != nil {
		return err
	}
	stream := bucket.Stream("greetings")
	say.Printf("created %s/%s", name, stream.Name())

	group, both := errgroup.WithContext(ctx)
	group.Go(func() error { return follow(both, stream, say) })
	group.Go(func() error { return write(both, stream, say) })
	if err := group.Wait(); err != nil {
		return err
	}
	return readBack(ctx, stream, say)
}

// follow reads live, from the first record on, until it has seen all. Whatever
// breaks meanwhile, each record comes once and in order.
func follow(ctx context.Context, stream *client.Stream, say *log.Logger) error {
	session := stream.ReadSession(ctx, client.Read{Start: client.FromSeqNum(0), Count: new(uint64(total))})
	defer session.Close()
	seen := 0
	for record, err := range session.Records() {
		if err != nil {
			return err
		}
		if record.SeqNum != uint64(seen) {
			return fmt.Errorf("record %d came where %d was due", record.SeqNum, seen)
		}
		seen++
	}
	say.Printf("followed %d records live", seen)
	return nil
}

func write(ctx context.Context, stream *client.Stream, say *log.Logger) error {
	if err := writeBatches(ctx, stream, say); err != nil {
		return err
	}
	return writeSingles(ctx, stream, say)
}

// writeBatches has many batches in flight at a time. With a producer id each is
// stored once, also if it must be sent again.
func writeBatches(ctx context.Context, stream *client.Stream, say *log.Logger) error {
	session := stream.AppendSession(ctx, client.SessionOptions{ProducerID: uuid.NewString()})
	var acks []client.Pending
	for i := range batches {
		var input client.AppendInput
		for j := range recordsPerBatch {
			input.Records = append(input.Records, client.AppendRecord{
				Headers: []client.Header{{Name: []byte("batch"), Value: fmt.Append(nil, i)}},
				Body:    fmt.Appendf(nil, "hello %d from batch %d", j, i),
			})
		}
		ack, err := session.Submit(ctx, input)
		if err != nil {
			return errors.Join(err, session.Close(ctx))
		}
		acks = append(acks, ack)
	}
	if err := session.Close(ctx); err != nil {
		return err
	}
	last, err := acks[batches-1].Wait(ctx)
	if err != nil {
		return err
	}
	say.Printf("appended %d batches, up to seq_num %d", batches, last.EndSeqNum-1)
	return nil
}

// writeSingles leaves the making of batches to a producer.
func writeSingles(ctx context.Context, stream *client.Stream, say *log.Logger) error {
	producer := stream.Producer(ctx, client.ProducerOptions{})
	var last client.Receipt
	for i := range singles {
		receipt, err := producer.Add(ctx, client.AppendRecord{Body: fmt.Appendf(nil, "single %d", i)})
		if err != nil {
			return errors.Join(err, producer.Close(ctx))
		}
		last = receipt
	}
	if err := producer.Close(ctx); err != nil {
		return err
	}
	seqNum, err := last.Wait(ctx)
	if err != nil {
		return err
	}
	say.Printf("produced %d records, up to seq_num %d", singles, seqNum)
	return nil
}

// readBack reads up to the tail and shows how to tell errors apart.
func readBack(ctx context.Context, stream *client.Stream, say *log.Logger) error {
	count := 0
	session := stream.ReadSession(ctx, client.Read{Start: client.FromSeqNum(0)}, client.StopAtTail())
	for _, err := range session.Records() {
		if err != nil {
			return err
		}
		count++
	}
	say.Printf("read %d records up to the tail", count)

	_, err := stream.Append(ctx, client.AppendInput{
		Records:    []client.AppendRecord{{Body: []byte("too late")}},
		Conditions: client.Conditions{MatchSeqNum: new(uint64(0))},
	})
	var failure *client.Error
	if !errors.Is(err, client.ErrConditionFailed) || !errors.As(err, &failure) {
		return fmt.Errorf("an append at seq_num 0 of a full stream gave %w", err)
	}
	next, _ := failure.NextSeqNum()
	say.Printf("an append meant for seq_num 0 was refused: the next one is %d", next)
	return nil
}
