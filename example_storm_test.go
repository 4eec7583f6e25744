package qrand_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"example.com/qrand"
	"example.com/qrand/keygen"
	"example.com/qrand/qrypt"
	"example.com/qrand/qrypttest"
)

// issue is the code under test: it makes a key with quantum entropy in it, or none.
func issue(ctx context.Context, src *qrand.Source) (ed25519.PrivateKey, error) {
	if err := src.WaitSeeded(ctx); err != nil {
		return nil, err
	}
	return keygen.Ed25519(src)
}

func TestIssueInStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // time in it passes only while all its goroutines wait, and then at once
		service := qrypttest.NewServer(qrypttest.Config{InMemory: true}) // its blocks are EMULATED
		defer service.Close()
		storm, err := qrypttest.ParseScript("429 retry-after=30s x3") // then ordinary answers
		if err != nil {
			t.Fatal(err)
		}
		service.Script(storm...)
		blocks, err := qrypt.New(qrypt.Config{
			Endpoints:  service.Endpoints(),
			Token:      qrypt.StaticToken(service.Token()),
			HTTPClient: service.Client(),
		})
		if err != nil {
			t.Fatal(err)
		}
		src, err := qrand.New(qrand.Config{
			Blocks:        blocks,
			Policy:        qrand.RequireFresh,
			AllowEmulated: true,
			Logger:        slog.New(slog.NewTextHandler(t.Output(), nil)), // go test -v shows it
		})
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()

		// A caller that cannot wait gets no key, and an error that says why.
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := issue(ctx, src); !errors.Is(err, qrypt.ErrRateLimited) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("in the storm: %v", err)
		}
		if status := src.Status(); status.State != qrand.Degraded || status.Reason != qrand.RateLimited {
			t.Errorf("in the storm: %v", status)
		}

		// A caller that can wait gets one after the storm, which is three waits of 30 s and more.
		began := time.Now()
		ctx, cancel = context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		if _, err := issue(ctx, src); err != nil {
			t.Error(err)
		}
		if waited := time.Since(began); waited < 80*time.Second {
			t.Errorf("there was a key %v later, while the service still said 429", waited)
		}
		if status := src.Status(); status.State != qrand.Seeded {
			t.Errorf("after the storm: %v", status)
		}
		var answers []int
		for _, request := range service.Requests() {
			answers = append(answers, request.Status)
		}
		if !slices.Equal(answers, []int{429, 429, 429, 200}) {
			t.Errorf("the service answered %v", answers)
		}
	})
}
