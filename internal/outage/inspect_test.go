package outage

import (
	"errors"
	mathrand "math/rand/v2"
	"testing"

	"example.com/qrand/internal/health"
	"example.com/qrand/qrypt"
)

// failovers is a source that notes whose blocks were refused.
type failovers []string

func (f *failovers) Failover(endpoint string) { *f = append(*f, endpoint) }

// TestInspect: one bad block refuses the answer, and the endpoint it came from is
// left; a breach of the contract is no endpoint's fault.
func TestInspect(t *testing.T) {
	noise := mathrand.NewChaCha8([32]byte{1})
	block := func(spoil ...byte) qrypt.Block {
		p := make([]byte, qrypt.BlockSize)
		noise.Read(p)
		copy(p[500:], spoil)
		b, err := qrypt.NewBlock(p, qrypt.Origin{Endpoint: "https://service.example"})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	memory := health.NewMemory(make([]byte, 32), health.Remembered)
	known, stuck := block(), make([]byte, 6)
	memory.Add(known.Bytes())
	for _, test := range []struct {
		name   string
		blocks []qrypt.Block
		want   error
	}{
		{"as many as asked for", []qrypt.Block{block(), block()}, nil},
		{"fewer", []qrypt.Block{block()}, nil},
		{"none", nil, ErrBlockCount},
		{"too many", []qrypt.Block{block(), block(), block()}, ErrBlockCount},
		{"an empty one", []qrypt.Block{block(), {}}, ErrBlockCount},
		{"a stuck one", []qrypt.Block{block(stuck...), block()}, health.ErrUnhealthy},
		{"a stuck one behind", []qrypt.Block{block(), block(stuck...)}, health.ErrUnhealthy},
		{"one from before", []qrypt.Block{block(), known}, health.ErrRepeated},
	} {
		var source failovers
		if err := Inspect(&source, memory, test.blocks, 2); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if bad := test.want != nil && test.want != ErrBlockCount; bad != (len(source) == 1 && source[0] == "https://service.example") {
			t.Errorf("%s: failed over from %q", test.name, source)
		}
	}
	twice := block()
	if err := Inspect(nil, memory, []qrypt.Block{twice, twice}, 2); !errors.Is(err, health.ErrRepeated) {
		t.Errorf("a block twice in an answer: %v", err)
	}
}

// TestPlainSource: a BlockSource need not have endpoints or tokens.
func TestPlainSource(t *testing.T) {
	if Endpoints(nil) != 1 || TokenChanged(t.Context(), nil) {
		t.Error("a source that says nothing has endpoints or a new token")
	}
	Failover(nil, "")
}
