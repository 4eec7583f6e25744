// Command relayabuse attacks a relay that runs as a process of its own, with a
// good client beside, and prints one line of figures for each attack. The
// script run starts it.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"example.com/qrand/internal/abuse"
)

func main() {
	log.SetFlags(0)
	var t trial
	flag.StringVar(&t.target.Addr, "addr", "", "the relay's `HOST:PORT`")
	flag.IntVar(&t.pid, "pid", 0, "the relay's process")
	ca := flag.String("ca", "", "a `FILE` with the CA of its certificate")
	name := flag.String("attack", "", "the attack's `NAME`; \"body\": large ones; \"none\": only the good client")
	flag.IntVar(&t.connections, "n", 2000, "`CONNECTIONS` of the attack")
	flag.IntVar(&t.addresses, "addresses", 1, "the number of `ADDRESSES` that they come from")
	flag.StringVar(&t.from, "from", "127.0.0.2", "the `ADDRESS` of the good client")
	flag.DurationVar(&t.duration, "for", 20*time.Second, "how long the attack goes on, or until the relay has ended it")
	flag.Parse()
	pem, err := os.ReadFile(*ca)
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	t.target.TLS = &tls.Config{RootCAs: pool}
	t.target.Token = os.Getenv("TOKEN")
	if !t.run(*name) {
		os.Exit(1)
	}
}

// A trial is one attack, with a good client at another address.
type trial struct {
	target      abuse.Target
	pid         int
	connections int
	addresses   int
	from        string // the good client's address
	duration    time.Duration
}

// run reports whether the good client was served each time.
func (t *trial) run(name string) bool {
	attacker := t.target
	t.target.From = t.from
	before, peak, watched := rss(t.pid), atomic.Int64{}, make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(watched)
		for {
			peak.Store(max(peak.Load(), rss(t.pid)))
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	served := make(chan abuse.Service)
	go func() { served <- t.target.Serve(1, 10*time.Millisecond, stop) }()
	result := t.attack(name, attacker)
	close(stop)
	service := <-served
	<-watched
	fmt.Printf("%s: %s; good client: %v; RSS %d MiB before, %d peak, %d after\n", name, result, service, before, peak.Load(), rss(t.pid))
	return service.Failed == 0
}

func (t *trial) attack(name string, attacker abuse.Target) string {
	ctx, cancel := context.WithTimeout(context.Background(), t.duration)
	defer cancel()
	switch name {
	case "none":
		<-ctx.Done()
		return "the good client alone here"
	case "body":
		const size = 1 << 30
		var parts []string
		for _, token := range []string{attacker.Token, "qrelay_of_nobody"} {
			sent, status, err := attacker.SendBody(ctx, token, size, false)
			if err != nil {
				return err.Error()
			}
			parts = append(parts, fmt.Sprintf("status %d after %d KiB", status, sent>>10))
		}
		return "of 1 GiB, " + strings.Join(parts, ", ")
	}
	for _, attack := range abuse.Attacks {
		if attack.Name == name {
			began := time.Now()
			var sieges []*abuse.Siege
			for i := range t.addresses {
				attacker.From = fmt.Sprintf("127.0.1.%d", i+1)
				sieges = append(sieges, attack.Lay(ctx, attacker, t.connections/t.addresses))
			}
			var counts abuse.Counts
			for _, siege := range sieges {
				<-siege.InPlace
			}
			placed := time.Since(began)
			for _, siege := range sieges {
				c := siege.Wait()
				counts.Refused += c.Refused
				counts.Ended += c.Ended
				counts.Sent += c.Sent
			}
			return fmt.Sprintf("%d connections from %d addresses, in place after %.1f s, %v, over after %.1f s", t.connections, t.addresses, placed.Seconds(), counts, time.Since(began).Seconds())
		}
	}
	log.Fatalf("there is no attack %q", name)
	return ""
}

// rss is how many MiB of memory a process has resident.
func rss(pid int) int64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	kib, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
	return kib >> 10
}
