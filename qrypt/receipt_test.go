package qrypt

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestReceipt: a relay is asked for a receipt with the key, and what it answers is in each
// block, as it came. Blocks does not ask, and a service that gives none gives blocks.
func TestReceipt(t *testing.T) {
	key := bytes.Repeat([]byte{7}, ReceiptKeySize)
	long := `{"payload":"` + strings.Repeat("x", maxReceipt-100) + `"}`
	for _, d := range bothDialects {
		var asked []string
		receipt := ""
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			asked = req.Header.Values(ReceiptKeyHeader)
			w.Header().Set("Content-Type", "application/json")
			body := answerWith(d, noise(1, 2)...)
			if receipt != "" {
				body = append(body[:len(body)-1], `, "receipt" : `+receipt+` }`...)
			}
			w.Write(body)
		}))
		defer server.Close()
		c := clientOf(t, server, withDialect(d))
		for _, receipt = range []string{"", `{"payloadType":"a}]\"","signatures":[{"sig":"b"}]}`, long} {
			blocks, err := c.BlocksWithReceipt(t.Context(), 2, key)
			if err != nil || len(blocks) != 2 || blocks[0].Origin().Receipt != receipt || blocks[1].Origin().Receipt != receipt {
				t.Errorf("%v: %d blocks, %v, want the receipt %.100s", d, len(blocks), err, receipt)
			}
			if want := base64.StdEncoding.EncodeToString(key); len(asked) != 1 || asked[0] != want {
				t.Errorf("%v: asked with %q, want %s", d, asked, want)
			}
		}
		mustFail(t, c, 2, ErrMalformed) // long, and nobody asked
		receipt = ""
		if mustBlocks(t, c, 2); len(asked) != 0 {
			t.Errorf("%v: Blocks asks for a receipt with %q", d, asked)
		}
		if blocks, err := c.BlocksWithReceipt(t.Context(), 2, key[1:]); err == nil || blocks != nil || !strings.Contains(err.Error(), "31 bytes, not 32") {
			t.Errorf("%v: a key of 31 bytes: %v", d, err)
		}
	}
}

// TestReceiptKeyStaysHere: the service itself is never sent the key, by whatever name.
func TestReceiptKeyStaysHere(t *testing.T) {
	for endpoint, want := range map[string]int{
		EndpointEUS: 0, EndpointWEU: 0, "https://API-EUS.Qrypt.com:443/base": 0, "https://qrypt.com": 0,
		"https://api-eus.qrypt.com.relay.example": 1, "https://notqrypt.com": 1, "https://relay.example": 1,
	} {
		got := -1
		c := mustNew(t, Config{Endpoints: []string{endpoint}, Token: StaticToken("a-token"), HTTPClient: roundTrip(func(req *http.Request) (*http.Response, error) {
			got = len(req.Header.Values(ReceiptKeyHeader))
			return reply(http.StatusOK, oneBlock[DialectQuantumEntropy]), nil
		}).client()})
		if blocks, err := c.BlocksWithReceipt(t.Context(), 1, make([]byte, ReceiptKeySize)); err != nil || len(blocks) != 1 || got != want {
			t.Errorf("%s: %v, sent the key %d times, want %d", endpoint, err, got, want)
		}
	}
}
