// Benthos, with an output to Kafka: its own belongs to a distribution under another licence, so this one is written as
// that one is, on franz-go.
//
// `benthos -c config.yaml`; a message's topic and key are the metadata `topic` and `key`.
package main

import (
	"context"
	"time"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"
)

// kafka is an output whose batches are acknowledged once every in-sync replica has all their records.
type kafka struct {
	bootstrap string
	client    *kgo.Client
}

func (k *kafka) Connect(context.Context) (err error) {
	// acks=all and idempotence are defaults of franz-go; it waits 5 ms for more records, as the other peers do.
	k.client, err = kgo.NewClient(kgo.SeedBrokers(k.bootstrap), kgo.ProducerLinger(5*time.Millisecond))
	return
}

func (k *kafka) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	records := make([]*kgo.Record, len(batch))
	for i, message := range batch {
		value, err := message.AsBytes()
		if err != nil {
			return err
		}
		topic, _ := message.MetaGet("topic")
		key, _ := message.MetaGet("key")
		records[i] = &kgo.Record{Topic: topic, Key: []byte(key), Value: value}
	}
	return k.client.ProduceSync(ctx, records...).FirstErr()
}

func (k *kafka) Close(context.Context) error {
	if k.client != nil {
		k.client.Close()
	}
	return nil
}

func main() {
	spec := service.NewConfigSpec().
		Fields(service.NewStringField("bootstrap"), service.NewIntField("max_in_flight").Default(64))
	service.MustRegisterBatchOutput("kafka", spec, func(
		config *service.ParsedConfig, _ *service.Resources,
	) (service.BatchOutput, service.BatchPolicy, int, error) {
		bootstrap, err := config.FieldString("bootstrap")
		if err != nil {
			return nil, service.BatchPolicy{}, 0, err
		}
		inFlight, err := config.FieldInt("max_in_flight")
		return &kafka{bootstrap: bootstrap}, service.BatchPolicy{}, inFlight, err
	})
	service.RunCLI(context.Background())
}
