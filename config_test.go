package qrand

import (
	"strings"
	"testing"
	"time"

	"example.com/qrand/qrypt"
)

// TestConfigErrors: a bad Config is refused, and the error says what to change.
func TestConfigErrors(t *testing.T) {
	t.Setenv(qrypt.EnvToken, "")
	t.Setenv(qrypt.EnvTokenFile, "")
	t.Setenv(qrypt.EnvEndpoints, "")
	t.Setenv(qrypt.EnvDialect, "")
	blocks := &fakeBlocks{}
	for want, cfg := range map[string]Config{
		"use MixXOR, MixRekey":          {Blocks: blocks, Mix: 3},
		"use MixXOR":                    {Blocks: blocks, Mix: -1},
		"use Augment":                   {Blocks: blocks, Policy: 3},
		"unknown Policy -1":             {Blocks: blocks, Policy: -1},
		"must not be negative":          {Blocks: blocks, ReseedInterval: -1},
		"and ReseedBytes must not be":   {Blocks: blocks, ReseedBytes: -1},
		"MaxAge, ReseedInterval and":    {Blocks: blocks, Policy: RequireFresh, MaxAge: -1},
		"1 to 512":                      {Blocks: blocks, BatchBlocks: 513},
		"BatchBlocks is -1":             {Blocks: blocks, BatchBlocks: -1},
		"use RequireFresh":              {Blocks: blocks, MaxAge: time.Hour},
		"stale between reseeds":         {Blocks: blocks, Policy: RequireFresh, MaxAge: time.Minute},
		"not longer than ReseedInter":   {Blocks: blocks, Policy: RequireFresh, ReseedInterval: time.Hour},
		"set QRYPT_TOKEN, or QRYPT_TOK": {},
		"is a nil *qrypt.Client: was":   {Blocks: (*qrypt.Client)(nil)},
		"is a nil qrand.blockFunc":      {Blocks: blockFunc(nil)},
	} {
		s, err := New(cfg)
		hear(err)
		if s != nil || err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "qrand: ") {
			t.Errorf("New(%+v) returned %v, want an error with %q", cfg, err, want)
		}
	}
}

// TestFromEnvironment: the zero Config works with a token in the environment.
func TestFromEnvironment(t *testing.T) {
	t.Setenv(qrypt.EnvToken, testToken)
	t.Setenv(qrypt.EnvEndpoints, "http://127.0.0.1:1") // nobody listens
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	hear(s, s.cfg.Blocks)
	mustRead(t, s, 32)
}
