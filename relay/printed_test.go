package relay

import (
	"reflect"
	"testing"
	"time"

	"example.com/qrand/internal/supply"
	"example.com/qrand/internal/verbs"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// TestPrintedRelay: no value that holds a block in stock, or the key of the
// fingerprints, shows it with any verb of fmt.
func TestPrintedRelay(t *testing.T) {
	const (
		mark  = "a-mark-that-every-block-carries."
		named = "fingerprints-have-this-MAC-key.."
	)
	var blocks []qrypt.Block
	for range 3 {
		p := make([]byte, qrypt.BlockSize)
		copy(p[500:], mark)
		b, err := qrypt.NewBlock(p, qrypt.Origin{Endpoint: "https://service.example"})
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, b)
	}
	r := &Relay{cfg: Config{Stock: 4, Clients: &clients.List{}}, stock: &stock{}, upstream: &upstream{}}
	r.stock.put(blocks)
	if _, ok := r.stock.draw(make([]byte, 10), time.Now(), nil); !ok { // so that one is open
		t.Fatal("nothing in stock")
	}
	f := newRefiller(r, []byte(named))
	o := supply.Outcome{Blocks: blocks}

	relay, stock := reflect.ValueOf(r).Elem().Interface(), reflect.ValueOf(r.stock).Elem().Interface() // vet forbids to copy a lock
	for name, v := range map[string]any{
		"Relay":              r,
		"copy of a Relay":    relay,
		"Relay in a field":   struct{ r *Relay }{r},
		"stock":              r.stock,
		"copy of a stock":    stock,
		"stock in a field":   struct{ s any }{r.stock},
		"refiller":           f,
		"copy of a refiller": *f,
		"outcome":            o,
		"outcome in a field": struct{ o *supply.Outcome }{&o},
	} {
		for what, secret := range map[string]string{"block": mark, "key of fingerprints": named} {
			if shown := verbs.Showing(v, secret); shown != nil {
				t.Errorf("%s: the %s is shown by %v", name, what, shown)
			}
		}
	}
}
