package relaynats_test

import (
	"log"
	"os"

	"github.com/nats-io/nats.go"

	"example.com/qrand"
	"example.com/qrand/qrypt"
	"example.com/qrand/relaynats"
)

// A program gets its blocks over NATS. The files are those that the relay's operator gave to
// it: an NKey for NATS, the public keys of the relays, and its token.
func ExampleNew() {
	nkey, err := nats.NkeyOptionFromSeed("/run/secrets/web-1.nk")
	if err != nil {
		log.Fatal(err)
	}
	nc, err := nats.Connect("tls://nats-1.example:4222,tls://nats-2.example:4222,tls://nats-3.example:4222",
		append(relaynats.Options(), nkey, nats.CustomInboxPrefix("_INBOX_web1"))...)
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	text, err := os.ReadFile("/etc/qrand/relays.pub")
	if err != nil {
		log.Fatal(err)
	}
	relays, err := relaynats.ParsePublicKeys(text)
	if err != nil {
		log.Fatal(err)
	}
	blocks, err := relaynats.New(nc, relaynats.Config{Relays: relays, Token: qrypt.TokenFromFile("/run/secrets/qrand-token")})
	if err != nil {
		log.Fatal(err)
	}
	src, err := qrand.New(qrand.Config{Blocks: blocks})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
}
