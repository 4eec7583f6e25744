// Package abuse does to a relay what those do to a server who wish it no good,
// and asks meanwhile as a good client does. The tests of package relay use it in
// small, and lab/relayabuse in full size, against the program itself.
//
// Begin with [Attacks] and [Target.Serve].
package abuse

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Target is a relay, and who asks it.
type Target struct {
	Addr  string      // host and port
	TLS   *tls.Config // that trusts its certificate
	Token string      // of a client without a limit
	From  string      // the address that connections come from; empty: any
}

func (t Target) dialTCP(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	if t.From != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(t.From)}
	}
	return d.DialContext(ctx, "tcp", t.Addr)
}

func (t Target) dial(ctx context.Context) (*tls.Conn, error) {
	tcp, err := t.dialTCP(ctx)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(tcp, t.config())
	if err := conn.HandshakeContext(ctx); err != nil {
		tcp.Close()
		return nil, err
	}
	return conn, nil
}

func (t Target) config() *tls.Config {
	config := t.TLS.Clone()
	config.NextProtos = []string{"http/1.1"}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(t.Addr)
	}
	return config
}

// Client is an ordinary client that keeps its connections. End it with
// CloseIdleConnections.
func (t Target) Client() *http.Client {
	transport := &http.Transport{
		DialTLSContext:      func(ctx context.Context, _, _ string) (net.Conn, error) { return t.dial(ctx) },
		MaxIdleConnsPerHost: 64,
	}
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// Ask asks for pieces of size bytes each in the Open API's dialect, or for
// pieces blocks in the document's if size is zero, and returns the bytes; where
// the status is another than 200, none.
func (t Target) Ask(ctx context.Context, client *http.Client, pieces, size int) (status int, entropy []byte, err error) {
	method, path, body := http.MethodGet, fmt.Sprintf("/api/v1/quantum-entropy?size=%d", pieces), ""
	if size > 0 {
		method, path, body = http.MethodPost, "/api/v1/entropy", fmt.Sprintf(`{"block_size":%d,"block_count":%d}`, size, pieces)
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+t.Addr+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+t.Token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp.StatusCode, nil, err
	}
	var answer struct{ Random, Entropy []string }
	if err := json.Unmarshal(data, &answer); err != nil {
		return resp.StatusCode, nil, err
	}
	for _, text := range slices.Concat(answer.Random, answer.Entropy) {
		p, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return resp.StatusCode, nil, err
		}
		entropy = append(entropy, p...)
	}
	return resp.StatusCode, entropy, nil
}

// Service is how a good client was served.
type Service struct {
	Served, Failed int
	P99, Slowest   time.Duration
	FirstFailure   error
}

func (s Service) String() string {
	text := fmt.Sprintf("served %d, failed %d, p99 %v", s.Served, s.Failed, s.P99.Round(100*time.Microsecond))
	if s.FirstFailure != nil {
		text += fmt.Sprintf(" (first failure: %v)", s.FirstFailure)
	}
	return text
}

// Serve asks for 32 bytes, one request after another, until stop is closed and at
// least n were made. Each tenth is made on a connection of its own. With a pause
// it leaves so much between requests.
func (t Target) Serve(n int, pause time.Duration, stop <-chan struct{}) Service {
	var s Service
	var took []time.Duration
	client := t.Client()
	defer client.CloseIdleConnections()
	for i := 0; i < n || !closed(stop); i++ {
		if i%10 == 0 {
			client.CloseIdleConnections()
		}
		began := time.Now()
		status, entropy, err := t.Ask(context.Background(), client, 1, 32)
		if err == nil && (status != http.StatusOK || len(entropy) != 32) {
			err = fmt.Errorf("status %d, %d bytes", status, len(entropy))
		}
		took = append(took, time.Since(began))
		if err == nil {
			s.Served++
		} else if s.Failed++; s.FirstFailure == nil {
			s.FirstFailure = err
		}
		time.Sleep(pause)
	}
	slices.Sort(took)
	s.P99, s.Slowest = took[len(took)*99/100], took[len(took)-1]
	return s
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Raw sends a request as it is on a connection of its own and returns the status
// of each answer, until the relay closes the connection or want answers came.
// Zero, at the end, is a connection that was closed before.
func (t Target) Raw(ctx context.Context, request string, want int) (statuses []int, err error) {
	conn, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		return []int{0}, nil
	}
	r := bufio.NewReader(conn)
	method, _, _ := strings.Cut(request, " ")
	for len(statuses) < want {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return append(statuses, 0), nil
		}
		if resp.StatusCode == http.StatusContinue {
			continue
		}
		statuses = append(statuses, resp.StatusCode)
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return append(statuses, 0), nil
		}
	}
	return statuses, nil
}
