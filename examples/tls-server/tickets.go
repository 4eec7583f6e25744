package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"time"
)

// keptKeys is how many ticket keys are kept: the first encrypts, all decrypt. They are few
// because a stolen one opens the TLS 1.2 sessions of its tickets.
const keptKeys = 3

// ticketKeys are the session ticket keys of a config. Those that crypto/tls makes by itself
// come from Config.Rand on Go 1.26 and 1.27, but Go does not promise that. So we set them.
type ticketKeys struct {
	src    io.Reader
	config *tls.Config
	keys   [][32]byte
}

// rotate puts a new key before the others, and forgets the oldest.
func (t *ticketKeys) rotate() error {
	var key [32]byte
	if _, err := io.ReadFull(t.src, key[:]); err != nil {
		return fmt.Errorf("ticket key: %w", err)
	}
	if len(t.keys) < keptKeys {
		t.keys = append(t.keys, key)
	}
	copy(t.keys[1:], t.keys)
	t.keys[0] = key
	clear(key[:])
	t.config.SetSessionTicketKeys(t.keys)
	return nil
}

// rotateEvery rotates the keys until ctx is done.
func (t *ticketKeys) rotateEvery(ctx context.Context, interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := t.rotate(); err != nil {
				log.Print(err) // a Policy refused the Read: the old keys stay until the next time
			}
		case <-ctx.Done():
			return
		}
	}
}
