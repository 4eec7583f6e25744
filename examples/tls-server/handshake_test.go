package main

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// A handshake is what could be seen on the wire of one, and the ticket that the
// client got, which TLS 1.3 encrypts.
type handshake struct {
	client, server hello
	serverKey      crypto.PrivateKey // the certificate's
	signed         []byte            // TLS 1.2: the digest that the server signed
	signature      []byte            // TLS 1.2
	ticket         []byte            // nil if the server gave none
	session        []byte            // the client's, encoded
	unusedKey      [32]byte          // the server's Config.SessionTicketKey

	clientRecords, serverRecords [][]byte // encrypted
}

// A hello is a ClientHello or a ServerHello (RFC 8446 sections 4.1.2 and 4.1.3),
// with the shares of the key exchange, where TLS 1.2 sends them in other messages.
type hello struct {
	random, sessionID []byte
	shares            map[tls.CurveID][]byte
}

// x25519 is that half of a share of X25519MLKEM768 (group 0x11EC), and mlkem the
// other: a key from the client, a ciphertext from the server.
func (h hello) x25519() []byte {
	share := h.shares[tls.X25519MLKEM768]
	return share[max(0, len(share)-32):]
}

func (h hello) mlkem() []byte {
	share := h.shares[tls.X25519MLKEM768]
	return share[:max(0, len(share)-32)]
}

// clientOf is a client that trusts a CA, and it alone.
func clientOf(ca *authority) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	return &tls.Config{RootCAs: roots, ServerName: "localhost"}
}

// shake connects a client with a server over loopback, and sends a word.
func shake(t *testing.T, client, server *tls.Config) *handshake {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	const word = "word"
	ends := make(chan end, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			ends <- end{err: err}
			return
		}
		ends <- talk(tls.Server, conn, server, func(c *tls.Conn) error {
			if _, err := io.WriteString(c, word); err != nil {
				return err
			}
			_, err := io.Copy(io.Discard, c)
			return err
		})
	}()

	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	cache := &ticketCache{}
	client = client.Clone()
	client.ClientSessionCache = cache
	here := talk(tls.Client, conn, client, func(c *tls.Conn) error {
		_, err := io.ReadFull(c, make([]byte, len(word)))
		return err
	})
	there := <-ends
	if here.err != nil || there.err != nil {
		t.Fatalf("client: %v; server: %v", here.err, there.err)
	}
	h := &handshake{serverKey: server.Certificates[0].PrivateKey}
	//lint:ignore SA1019 crypto/tls fills it all the same
	h.unusedKey = server.SessionTicketKey
	if cache.session != nil {
		ticket, state, err := cache.session.ResumptionState()
		if err != nil {
			t.Fatal(err)
		}
		if h.session, err = state.Bytes(); err != nil {
			t.Fatal(err)
		}
		h.ticket = ticket
	}
	h.parse(t, here.sent, there.sent)
	return h
}

// An end is what one side of a connection sent, and how that ended.
type end struct {
	sent []byte
	err  error
}

func talk(side func(net.Conn, *tls.Config) *tls.Conn, conn net.Conn, config *tls.Config, do func(*tls.Conn) error) end {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	tap := &tappedConn{Conn: conn}
	c := side(tap, config)
	err := c.Handshake()
	if err == nil {
		err = do(c)
	}
	c.Close()
	tap.mu.Lock()
	defer tap.mu.Unlock()
	return end{tap.sent.Bytes(), err}
}

// A tappedConn keeps what is written to it.
type tappedConn struct {
	net.Conn
	mu   sync.Mutex
	sent bytes.Buffer
}

func (c *tappedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent.Write(p[:n])
	return n, err
}

// A ticketCache keeps the session of the last ticket, and resumes none.
type ticketCache struct{ session *tls.ClientSessionState }

func (c *ticketCache) Get(string) (*tls.ClientSessionState, bool)    { return nil, false }
func (c *ticketCache) Put(_ string, session *tls.ClientSessionState) { c.session = session }

// Types of records, handshake messages and extensions (RFC 8446 appendix B).
const (
	recordChangeCipherSpec = 20 // TLS 1.3 sends it, too, for old middleboxes
	recordHandshake        = 22
	typeClientHello        = 1
	typeServerHello        = 2
	typeServerKeyExchange  = 12
	typeClientKeyExchange  = 16
	extensionKeyShare      = 51
)

// parse takes both streams apart.
func (h *handshake) parse(t *testing.T, fromClient, fromServer []byte) {
	t.Helper()
	clientMessages, clientRecords := split(fromClient)
	serverMessages, serverRecords := split(fromServer)
	h.clientRecords, h.serverRecords = clientRecords, serverRecords
	ok := h.client.parse(clientMessages[typeClientHello], true) && h.server.parse(serverMessages[typeServerHello], false)
	if exchange, isThere := clientMessages[typeClientKeyExchange]; ok && isThere {
		s := cryptobyte.String(exchange)
		var share cryptobyte.String
		ok = s.ReadUint8LengthPrefixed(&share) && h.parseServerKeyExchange(serverMessages[typeServerKeyExchange])
		h.client.shares[tls.CurveP256] = share
	}
	if !ok {
		t.Fatal("the handshake on the wire is not what was expected")
	}
}

// split returns the handshake messages in the clear, by type, and the records
// that are encrypted.
func split(stream []byte) (messages map[uint8][]byte, sealed [][]byte) {
	messages = make(map[uint8][]byte)
	var plain cryptobyte.String
	s := cryptobyte.String(stream)
	inClear := true
	for !s.Empty() {
		var kind uint8
		var body cryptobyte.String
		if !s.ReadUint8(&kind) || !s.Skip(2) || !s.ReadUint16LengthPrefixed(&body) {
			break
		}
		switch {
		case kind == recordChangeCipherSpec:
			inClear = false
		case inClear && kind == recordHandshake:
			plain = append(plain, body...)
		case !inClear:
			sealed = append(sealed, body)
		}
	}
	for !plain.Empty() {
		var kind uint8
		var body cryptobyte.String
		if !plain.ReadUint8(&kind) || !plain.ReadUint24LengthPrefixed(&body) {
			break
		}
		messages[kind] = body
	}
	return messages, sealed
}

func (h *hello) parse(message []byte, isClient bool) bool {
	s := cryptobyte.String(message)
	var skipped, extensions cryptobyte.String
	ok := s.Skip(2) && s.ReadBytes(&h.random, 32) && s.ReadUint8LengthPrefixed((*cryptobyte.String)(&h.sessionID))
	if isClient {
		ok = ok && s.ReadUint16LengthPrefixed(&skipped) && s.ReadUint8LengthPrefixed(&skipped) // suites, compression
	} else {
		ok = ok && s.Skip(3)
	}
	ok = ok && s.ReadUint16LengthPrefixed(&extensions)
	h.shares = make(map[tls.CurveID][]byte)
	for ok && !extensions.Empty() {
		var kind, group uint16
		var body, shares, share cryptobyte.String
		ok = extensions.ReadUint16(&kind) && extensions.ReadUint16LengthPrefixed(&body)
		if kind != extensionKeyShare {
			continue
		}
		if shares = body; isClient {
			ok = ok && body.ReadUint16LengthPrefixed(&shares)
		}
		for ok && !shares.Empty() {
			ok = shares.ReadUint16(&group) && shares.ReadUint16LengthPrefixed(&share)
			h.shares[tls.CurveID(group)] = share
		}
	}
	return ok
}

// parseServerKeyExchange reads the server's share on P-256 and its signature with
// SHA-256 (RFC 8422 section 5.4).
func (h *handshake) parseServerKeyExchange(message []byte) bool {
	s := cryptobyte.String(message)
	var curveType uint8
	var group, algorithm uint16
	var share, signature cryptobyte.String
	if !s.ReadUint8(&curveType) || !s.ReadUint16(&group) || !s.ReadUint8LengthPrefixed(&share) {
		return false
	}
	params := message[:len(message)-len(s)]
	if !s.ReadUint16(&algorithm) || !s.ReadUint16LengthPrefixed(&signature) {
		return false
	}
	switch tls.SignatureScheme(algorithm) {
	case tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256:
	default:
		return false
	}
	digest := sha256.Sum256(bytes.Join([][]byte{h.client.random, h.server.random, params}, nil))
	h.signed, h.signature = digest[:], signature
	h.server.shares[tls.CurveID(group)] = share
	return true
}
