// The Go peer: events.KafkaEvent of aws-lambda-go, read by encoding/json as the runtime does.
//
// usage: go run . EVENTS DUMP
package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-lambda-go/events"
)

type answer struct {
	Peer   string         `json:"peer"`
	Events map[string]any `json:"events"`
}

func main() {
	log.SetFlags(0)
	files, err := filepath.Glob(filepath.Join(os.Args[1], "*.json"))
	if err != nil {
		log.Fatal(err)
	}
	readings := map[string]any{}
	for _, file := range files {
		event, err := os.ReadFile(file)
		if err != nil {
			log.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		if decoded, err := read(event); err != nil {
			readings[name] = map[string]any{"rejected": err.Error()}
		} else {
			readings[name] = map[string]any{"decoded": decoded}
		}
	}
	dump, err := json.Marshal([]answer{{"go/aws-lambda-go", readings}})
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(os.Args[2], dump, 0o644); err != nil {
		log.Fatal(err)
	}
}

func read(text []byte) (any, error) {
	var event events.KafkaEvent
	if err := json.Unmarshal(text, &event); err != nil {
		return nil, err
	}
	records := map[string]any{}
	for key, list := range event.Records {
		decoded := []any{}
		for _, record := range list {
			form, err := normalForm(record)
			if err != nil {
				return nil, err
			}
			decoded = append(decoded, form)
		}
		records[key] = decoded
	}
	return map[string]any{
		"event_source":      event.EventSource,
		"event_source_arn":  orNull(event.EventSourceARN),
		"bootstrap_servers": event.BootstrapServers,
		"records":           records,
	}, nil
}

func normalForm(record events.KafkaRecord) (any, error) {
	key, err := base64.StdEncoding.DecodeString(record.Key)
	if err != nil {
		return nil, err
	}
	value, err := base64.StdEncoding.DecodeString(record.Value)
	if err != nil {
		return nil, err
	}
	headers := []any{}
	for _, header := range record.Headers {
		for name, value := range header {
			headers = append(headers, []string{name, hex.EncodeToString(value)})
		}
	}
	return map[string]any{
		"topic":          record.Topic,
		"partition":      record.Partition,
		"offset":         record.Offset,
		"timestamp_ms":   record.Timestamp.UnixMilli(),
		"timestamp_type": record.TimestampType,
		"key":            hex.EncodeToString(key),
		"value":          hex.EncodeToString(value),
		"headers":        headers,
	}, nil
}

// An ARN is never empty, so that the class's "" can only mean that there is none. Keys and values
// may be empty: there the class cannot tell, and expected.json says so.
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}
