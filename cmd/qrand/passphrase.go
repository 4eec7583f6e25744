package main

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// passphraseOptions are the flags about one. The passphrase itself is never a
// flag: others can see the command line.
type passphraseOptions struct {
	ask  bool
	file string
}

func (o *passphraseOptions) addTo(cmd *cobra.Command, what string) {
	cmd.Flags().BoolVar(&o.ask, "passphrase", false, what+" with a passphrase, asked for on the terminal")
	cmd.Flags().StringVar(&o.file, "passphrase-file", "", what+" with the first line of `FILE`")
}

func (o *passphraseOptions) wanted() bool { return o.ask || o.file != "" }

func (o *passphraseOptions) check() error {
	if o.ask && o.file != "" {
		return errors.New("--passphrase and --passphrase-file: which?")
	}
	return nil
}

// read gets the passphrase, asking twice for a new one; nil if none is wanted.
func (o *passphraseOptions) read(c *console, isNew bool) (passphrase []byte, err error) {
	switch {
	case o.file != "":
		data, err := os.ReadFile(o.file)
		if err != nil {
			return nil, fmt.Errorf("--passphrase-file: %w", err)
		}
		passphrase, _, _ = bytes.Cut(data, []byte("\n"))
		passphrase = bytes.TrimSuffix(passphrase, []byte("\r"))
		clear(data[len(passphrase):])
	case o.ask:
		if passphrase, err = c.askSecret("Passphrase: "); err != nil {
			return nil, err
		}
		if isNew {
			again, err := c.askSecret("The same again: ")
			defer clear(again)
			if err != nil {
				clear(passphrase)
				return nil, err
			}
			if subtle.ConstantTimeCompare(passphrase, again) != 1 {
				clear(passphrase)
				return nil, errors.New("the passphrases differ")
			}
		}
	default:
		return nil, nil
	}
	if len(passphrase) == 0 {
		return nil, errors.New("the passphrase is empty")
	}
	return passphrase, nil
}
