//go:build go1.27

package main

import "crypto/tls"

// init adds a certificate with an ML-DSA key. Its signatures read nothing from any reader: if
// one did, check would find bytes that were read for something that is not in the table.
func init() {
	scenes = append(scenes, scene{
		name: "TLS 1.3 with X25519MLKEM768 and ML-DSA-65",
		kind: "ml-dsa",
		shape: func(c *tls.Config) {
			c.MinVersion = tls.VersionTLS13
			c.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768}
			c.SessionTicketsDisabled = true
		},
		client: []fact{clientRandom, clientSessionID, clientMLKEM, clientX25519},
		server: []fact{serverRandom, serverMLKEM, serverX25519},
	})
}
