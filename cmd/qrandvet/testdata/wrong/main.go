// Command wrong passes its reader to seven functions that ignore it.
package main

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"log"
	"math/big"
	"os"
)

func main() {
	src, err := os.Open("/dev/hwrng")
	check(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), src)
	check(err)
	_, err = ecdh.P256().GenerateKey(src)
	check(err)
	_, err = ecdh.X25519().GenerateKey(src)
	check(err)
	_, err = rsa.GenerateKey(src, 2048)
	check(err)
	_, err = rand.Prime(src, 512)
	check(err)
	digest := sha256.Sum256([]byte("message"))
	_, err = ecdsa.SignASN1(src, key, digest[:])
	check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	_, err = x509.CreateCertificate(src, template, template, key.Public(), key)
	check(err)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
