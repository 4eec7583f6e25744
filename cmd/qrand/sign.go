package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"example.com/qrand/internal/keyfile"
	"example.com/qrand/provenance"
)

// The signed statement about a key has the name of the key and this suffix. The proof that it
// is in a log has the name of the statement with another one.
const (
	statementSuffix = ".provenance.dsse.json"
	proofSuffix     = ".provenance.tlog-proof"
)

// signOptions are the flags of qrand keygen about the statement that people sign.
type signOptions struct {
	keys        namesFlag // files
	passphrases namesFlag // files
	ceremony    string    // file
	notItself   bool
}

func (o *signOptions) addTo(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var(&o.keys, "sign-with", "also make a statement, in FILE.provenance.dsse.json, signed with the private keys in these files and by the key itself")
	f.Var(&o.passphrases, "sign-passphrase-file", "open the encrypted keys of --sign-with with the first lines of these files, in the same order; without them they are asked for")
	f.StringVar(&o.ceremony, "ceremony", "", "the statement also says in which ceremony the key was made, as this `FILE` of JSON describes it")
	f.BoolVar(&o.notItself, "no-self-signature", false, "the key itself does not sign the statement: for policies that limit what it may sign")
}

func (o *signOptions) wanted() bool { return len(o.keys) > 0 }

func (o *signOptions) check(file string) error {
	switch {
	case !o.wanted() && (len(o.passphrases) > 0 || o.ceremony != "" || o.notItself):
		return errors.New("--sign-passphrase-file, --ceremony and --no-self-signature are about the statement that --sign-with makes: give that, too")
	case o.wanted() && file == "":
		return errors.New("--sign-with writes a statement beside the key: use -o FILE")
	}
	return nil
}

// A signing is what has been read for the statements about the keys to be made.
type signing struct {
	operators []provenance.Signer
	ceremony  *provenance.Ceremony
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
	passphrases := slices.Clone(o.passphrases)
	seen := map[string]string{}
	for _, path := range o.keys {
		signer, err := readSigner(c, path, func() passphraseOptions {
			if len(passphrases) == 0 {
				return passphraseOptions{}
			}
			next := passphraseOptions{file: passphrases[0]}
			passphrases = passphrases[1:]
			return next
		})
		if err != nil {
			return s, fmt.Errorf("--sign-with: %w", err)
		}
		id := provenance.Digest(signer.PublicKey())
		if other, ok := seen[id]; ok {
			return s, fmt.Errorf("--sign-with: %s and %s have the same key: it signs once", other, path)
		}
		seen[id] = path
		s.operators = append(s.operators, signer)
	}
	if len(passphrases) > 0 && len(o.passphrases) > 0 {
		return s, fmt.Errorf("--sign-passphrase-file: %s is not needed: fewer keys of --sign-with are encrypted", passphrases[0])
	}
	return s, nil
}

// readSigner reads a private key to sign with. If it is encrypted, secret says where its
// passphrase is; without an answer the terminal is asked.
func readSigner(c *console, path string, secret func() passphraseOptions) (provenance.Signer, error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	key, err := keyfile.ParseSigner(data, nil)
	if errors.Is(err, keyfile.ErrEncrypted) {
		o := secret()
		var passphrase []byte
		if o.file != "" {
			passphrase, err = o.read(c, false)
		} else if passphrase, err = c.askSecret(fmt.Sprintf("Passphrase of %s: ", path)); err == nil && len(passphrase) == 0 {
			err = errors.New("the passphrase is empty")
		}
		if err != nil {
			return nil, fmt.Errorf("%s is encrypted: %w", path, err)
		}
		defer clear(passphrase)
		key, err = keyfile.ParseSigner(data, passphrase)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s", path, plain(err.Error()))
	}
	signer, err := provenance.NewSigner(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", path, plain(err.Error()))
	}
	return signer, nil
}

// envelope makes the statement about a key, which signs it if it can.
func (s *signing) envelope(ctx context.Context, key *keyPair, canSign bool, record provenance.Record) (provenance.Envelope, error) {
	statement := provenance.Statement{Record: record, Ceremony: s.ceremony, SelfSigned: canSign && !s.notItself}
	signers := s.operators
	if statement.SelfSigned {
		itself, err := newOwnSigner(key.private)
		if err != nil {
			return provenance.Envelope{}, err
		}
		signers = append(slices.Clone(signers), itself)
	}
	return statement.Sign(ctx, signers...)
}

// findStatement finds the statement at, or beside, a file.
func findStatement(path string) (string, error) {
	if hasStatementSuffix(path) {
		return path, nil
	}
	return findBeside(path, statementSuffix)
}

var _ = os.Stat
