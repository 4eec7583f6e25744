package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/qrand/internal/relaycmd"
	"example.com/qrand/qrypt"
	"example.com/qrand/relay/clients"
)

// relayOptions are the flags of qrand relay.
type relayOptions struct {
	relaycmd.Options
	dev             bool
	caFile, envFile string
}

func newRelayCommand(c *console) *cobra.Command {
	var o relayOptions
	cmd := &cobra.Command{
		Use:   "relay [flags]",
		Short: "Share one account among many programs",
		Long: `Serves the entropy of one account to many programs, each with a token of its
own, over HTTPS and with Qrypt's own API. A program that was written for
Qrypt's service works with a relay when you change host, CA and token. The
relay hands out blocks as it received them, each byte once. When none are left,
it answers 503.

The account's token and address come from QRYPT_TOKEN and so on, as for all
commands. qrand relay token writes the file of clients that may ask; the relay
applies changes of it while it runs. At / there is a page with the state, at
/metrics there are metrics for Prometheus: from this host, or with the token of
an operator.

After the service refused the token or the quota, the relay asks again when
there is another token, and else rarely. SIGUSR1 makes it ask now.

--dev makes a certificate for this run and, if there is no file of clients, a
token. It prints what to paste in another shell. A file of clients that is made
while such a relay runs counts only after a restart.`,
		Example: `  qrand relay --dev
  qrand relay token new web-1 --quota 10MiB/24h
  qrand relay --listen :443 --cert relay.crt --key relay.key`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			return runRelay(cmd.Context(), c, o)
		},
	}
	f := cmd.Flags()
	o.AddTo(f)
	f.BoolVar(&o.dev, "dev", false, "make a certificate for this run, and a token if there are no clients")
	f.StringVar(&o.caFile, "ca-file", "qrand-relay-ca.pem", "with --dev, write the certificate of the CA to this `FILE`")
	f.StringVar(&o.envFile, "env-file", "", "with --dev, "+envFileUsage)
	cmd.AddCommand(newRelayTokenCommand(c))
	return cmd
}

func (o *relayOptions) check(cmd *cobra.Command) error {
	switch {
	case !o.dev && !o.HasWay():
		return misused(cmd, "a relay needs a certificate: give --cert and --key, or --dev to try it")
	case o.dev && o.HasWay():
		return misused(cmd, "--dev, --plain, and --cert with --key exclude each other: give one")
	case cmd.Flags().Changed("ca-file") && !o.dev:
		return misused(cmd, "--ca-file is about --dev; for clients' CAs it is --client-ca")
	case cmd.Flags().Changed("env-file") && !o.dev:
		return misused(cmd, "--env-file is about --dev")
	}
	if err := o.Check(); err != nil {
		return misused(cmd, "%w", err)
	}
	return nil
}

// runRelay runs a relay. With --dev it first checks that it may write its files.
func runRelay(ctx context.Context, c *console, o relayOptions) error {
	c.grace.Store(int64(relaycmd.Grace))
	token, introduced := "", false
	hooks := relaycmd.Hooks{Listening: func(at *net.TCPAddr) error {
		introduced = true
		return o.introduce(c, at, token)
	}}
	path := cmp.Or(o.Clients, relaycmd.ClientsFile(c.getenv))
	if o.dev {
		if err := checkDevFiles(o.caFile, devCAName, o.envFile, relayEnvHead, "a relay's --dev"); err != nil {
			return err
		}
		var remove func()
		var err error
		if path, token, remove, err = o.devClients(path); err != nil {
			return err
		}
		defer remove()
		hooks.Certificate = o.devCertificate
		defer func() {
			if introduced && o.envFile != "" {
				os.Remove(o.envFile)
			}
		}()
	}
	o.Clients = path
	return o.Run(ctx, o.Logger(c.err), hooks)
}

// devCertificate makes a certificate for --dev, and writes that of its CA.
func (o *relayOptions) devCertificate() (tls.Certificate, error) {
	host, _, _ := net.SplitHostPort(o.Listen)
	ca, leaf, err := devCertificate(host)
	if err == nil {
		err = writeFile(o.caFile, ca, 0o644)
	}
	return leaf, err
}

// devClients makes a list of clients with one token for this run, if there is no list at
// path and --clients names none. It returns the path of the list that is used.
func (o *relayOptions) devClients(path string) (used, token string, remove func(), err error) {
	if _, err := os.Stat(path); o.Clients != "" || !errors.Is(err, fs.ErrNotExist) {
		return path, "", func() {}, nil
	}
	dir, err := os.MkdirTemp("", "qrand-relay")
	if err != nil {
		return "", "", nil, err
	}
	done := atExit.add(func() { os.RemoveAll(dir) })
	remove = func() {
		done()
		os.RemoveAll(dir)
	}
	used = filepath.Join(dir, "clients.json")
	if token, err = clients.Add(used, clients.Client{Name: "dev", Created: time.Now(), Rate: -1, Bandwidth: -1}); err != nil {
		remove()
	}
	return used, token, remove, err
}

// introduce says where the relay is, and with --dev what to paste in another shell.
func (o *relayOptions) introduce(c *console, at *net.TCPAddr, token string) error {
	scheme := "https"
	if o.Plain {
		scheme = "http"
	}
	host := at.AddrPort().Addr().Unmap().String()
	if at.IP.IsUnspecified() {
		host = "localhost"
	}
	host = strings.Replace(host, "%", "%25", 1) // an IPv6 zone in a URL: RFC 6874 section 2
	url := fmt.Sprintf("%s://%s", scheme, net.JoinHostPort(host, fmt.Sprint(at.Port)))
	var b strings.Builder
	fmt.Fprintf(&b, "The relay serves %s, its page is at %s/\n", url, url)
	if o.dev {
		caFile, err := filepath.Abs(o.caFile)
		if err != nil {
			return err
		}
		vars := []variable{{qrypt.EnvEndpoints, url}, {qrypt.EnvCAFile, caFile}}
		if token != "" {
			vars = append(vars, variable{qrypt.EnvToken, token})
		}
		if o.envFile != "" {
			if err := writeEnvFile(o.envFile, relayEnvHead, vars); err != nil {
				return err
			}
		}
		b.WriteString("\n" + pasteText(vars, o.envFile, "a token of qrand relay token new", url))
	}
	fmt.Fprintf(&b, "Ctrl-C ends it.\n\n")
	_, err := c.out.Write([]byte(b.String()))
	return err
}

// devCAName is the subject of the CA of qrand relay --dev.
const devCAName = "qrand relay --dev CA"

// devCertificate makes a CA, and a server certificate for this host and for the
// name that it listens on. Both are valid for a month. The key of the CA is not
// kept.
func devCertificate(host string) (ca []byte, leaf tls.Certificate, err error) {
	from, to := time.Now().Add(-time.Hour), time.Now().AddDate(0, 1, 0)
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, leaf, err
	}
	issuer := &x509.Certificate{
		Subject:   pkix.Name{CommonName: devCAName},
		NotBefore: from, NotAfter: to,
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, issuer, issuer, caKey.Public(), caKey)
	if err != nil {
		return nil, leaf, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, leaf, err
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "qrand relay --dev"},
		NotBefore: from, NotAfter: to,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	address, zone, _ := strings.Cut(host, "%")
	ip := net.ParseIP(address)
	if ip != nil && !ip.IsUnspecified() {
		template.IPAddresses = append(template.IPAddresses, ip)
	}
	// crypto/tls compares an IPv6 address with a zone as if it were a name.
	if (ip == nil || zone != "") && host != "" && host != "localhost" {
		template.DNSNames = append(template.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), caKey)
	if err != nil {
		return nil, leaf, err
	}
	leaf = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), leaf, nil
}
