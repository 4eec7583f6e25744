package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"example.com/qrand/internal/keyfile"
	"example.com/qrand/provenance"
	"example.com/qrand/provenance/tlogproof"
)

// The signed statement about a key has the name of the key and this suffix.
const statementSuffix = ".provenance.dsse.json"

// signOptions are the flags of qrand keygen about the statement that people sign.
type signOptions struct {
	keys        namesFlag // files
	passphrases namesFlag // files
	ceremony    string    // file
	after       string    // file
	notItself   bool
	receipts    bool
}

func (o *signOptions) addTo(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var(&o.keys, "sign-with", "also make a statement, signed with the private keys in `FILE,...` and by the key itself")
	f.Var(&o.passphrases, "sign-passphrase-file", "open those that are encrypted with the first lines of `FILE,...`, in the same order")
	f.StringVar(&o.ceremony, "ceremony", "", "the statement has the ceremony that this `FILE` of JSON describes")
	f.StringVar(&o.after, "after", "", "the statement names the checkpoint of a log in this `FILE`, and so is not older (default, with --log: the newest)")
	f.BoolVar(&o.receipts, "receipts", false, "the statement has a relay's receipt for each block; without them there is no key")
	f.BoolVar(&o.notItself, "no-self-signature", false, "the key itself does not sign the statement, for policies that limit what it signs")
}

func (o *signOptions) wanted() bool { return len(o.keys) > 0 }

func (o *signOptions) check(file string) error {
	switch {
	case !o.wanted() && (len(o.passphrases) > 0 || o.ceremony != "" || o.after != "" || o.notItself || o.receipts):
		return errors.New("--sign-passphrase-file, --ceremony, --after, --no-self-signature and --receipts are about the statement that --sign-with makes: give that, too")
	case o.wanted() && file == "":
		return errors.New("--sign-with writes a statement beside the key: use -o FILE")
	}
	return nil
}

// A signing is what has been read for the statements about the keys to be made.
type signing struct {
	operators []provenance.Signer
	ceremony  *provenance.Ceremony
	after     string // a checkpoint; empty: none
	notItself bool
}

// read reads the operators' keys and the ceremony: whatever is wrong with them is found
// before a block is spent.
func (o *signOptions) read(c *console) (s signing, err error) {
	s.notItself = o.notItself
	if o.ceremony != "" {
		data, err := readBounded(o.ceremony)
		if err != nil {
			return s, fmt.Errorf("--ceremony: %w", err)
		}
		ceremony, err := provenance.ParseCeremony(data)
		if err != nil {
			return s, fmt.Errorf("--ceremony: %s: %s", o.ceremony, plain(err.Error()))
		}
		s.ceremony = &ceremony
	}
	if o.after != "" {
		data, err := readBounded(o.after)
		if err != nil {
			return s, fmt.Errorf("--after: %w", err)
		}
		if _, err := tlogproof.ParseNote(string(data)); err != nil {
			return s, fmt.Errorf("--after: %s is %w", o.after, err)
		}
		s.after = string(data)
	}
	passphrases := slices.Clone(o.passphrases)
	seen := map[string]string{}
	for _, path := range o.keys {
		signer, err := readSigner(c, path, "--sign-passphrase-file", &passphrases)
		if err != nil {
			return s, fmt.Errorf("--sign-with: %w", err)
		}
		id := provenance.Digest(signer.PublicKey())
		if other, ok := seen[id]; ok {
			return s, fmt.Errorf("--sign-with: %s and %s have the same key, which signs once", other, path)
		}
		seen[id] = path
		s.operators = append(s.operators, signer)
	}
	if len(passphrases) > 0 {
		return s, fmt.Errorf("--sign-passphrase-file: %s is one file too many: give one for each key that is encrypted", passphrases[0])
	}
	return s, nil
}

// readSigner reads a private key to sign with. If it is encrypted, it takes the first of the
// files with passphrases, which the flag names. If there is none, the terminal is asked.
func readSigner(c *console, path, flag string, passphrases *namesFlag) (provenance.Signer, error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	key, err := keyfile.ParseSigner(data, nil)
	if errors.Is(err, keyfile.ErrEncrypted) {
		passphrase, err := readSignerPassphrase(c, path, passphrases)
		defer clear(passphrase)
		if errors.Is(err, errNoTerminal) {
			return nil, fmt.Errorf("%s is encrypted, and stdin is no terminal to ask for its passphrase on: use %s", path, flag)
		} else if err != nil {
			return nil, fmt.Errorf("%s is encrypted: %w", path, err)
		}
		if key, err = keyfile.ParseSigner(data, passphrase); err != nil {
			return nil, fmt.Errorf("%s: %s", path, plain(err.Error()))
		}
	} else if err != nil {
		return nil, fmt.Errorf("%s: %s", path, plain(err.Error()))
	}
	signer, err := provenance.NewSigner(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", path, plain(err.Error()))
	}
	return signer, nil
}

func readSignerPassphrase(c *console, path string, files *namesFlag) ([]byte, error) {
	if len(*files) > 0 {
		o := passphraseOptions{file: (*files)[0]}
		*files = (*files)[1:]
		return o.read(c, false)
	}
	passphrase, err := c.askSecret(fmt.Sprintf("Passphrase of %s: ", path))
	if err == nil && len(passphrase) == 0 {
		err = errors.New("the passphrase is empty")
	}
	return passphrase, err
}

// statement makes the file of the statement about a key, which signs it if it can.
func (s *signing) statement(ctx context.Context, key *keyPair, record provenance.Record, receipts []provenance.Envelope) (envelope []byte, selfSigned bool, err error) {
	itself, canSign := key.private.(crypto.Signer) // no key for ECDH or a KEM is one
	statement := provenance.Statement{Record: record, Ceremony: s.ceremony, After: s.after, Receipts: receipts, SelfSigned: canSign && !s.notItself}
	signers := slices.Clone(s.operators)
	if statement.SelfSigned {
		signer, err := provenance.NewSigner(itself)
		if err != nil {
			return nil, false, err
		}
		signers = append(signers, signer)
	}
	e, err := statement.Sign(ctx, signers...)
	if err != nil {
		return nil, false, err
	}
	envelope, err = e.Encode()
	return envelope, statement.SelfSigned, err
}
