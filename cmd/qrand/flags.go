package main

import (
	"bytes"
	"crypto/subtle"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/sethvargo/go-diceware/diceware"
	"github.com/spf13/cobra"

	"example.com/qrand/internal/keyfile"
)

// A choice is a flag whose value is one of a few words.
type choice struct {
	value   string
	allowed []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return strings.Join(c.allowed, "|") }

func (c *choice) Set(value string) error {
	if !slices.Contains(c.allowed, value) {
		return errors.New("use " + strings.Join(c.allowed, ", "))
	}
	c.value = value
	return nil
}

// addChoice adds a flag that a shell can complete.
func addChoice(cmd *cobra.Command, c *choice, name, usage string) {
	cmd.Flags().Var(c, name, usage)
	// It fails only if there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(c.allowed, cobra.ShellCompDirectiveNoFileComp))
}

// A namesFlag is a flag whose value is one or more names, with commas or line ends between them.
// Quotation marks around a name let it have a comma (RFC 4180). pflag's StringSlice drops all
// lines but the first.
type namesFlag []string

func (n *namesFlag) String() string { return strings.Join(*n, ",") }
func (n *namesFlag) Type() string   { return "NAME,..." }

func (n *namesFlag) Set(value string) error {
	r := csv.NewReader(strings.NewReader(value))
	r.FieldsPerRecord = -1
	lines, err := r.ReadAll()
	switch {
	case err != nil:
		return errors.New("write names with commas between them, and a name with a comma in quotation marks")
	case len(lines) == 0:
		return errors.New("there is no name")
	}
	*n = append(*n, slices.Concat(lines...)...)
	return nil
}

// A waitFlag is a flag whose value is a duration of zero or more.
type waitFlag time.Duration

func (w *waitFlag) String() string { return time.Duration(*w).String() }
func (w *waitFlag) Type() string   { return "DURATION" }

func (w *waitFlag) Set(value string) error {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		return errors.New("write it like 5s or 300ms")
	}
	*w = waitFlag(d)
	return nil
}

// A sizeFlag is a flag whose value is a number of bytes.
type sizeFlag int64

func (s *sizeFlag) String() string {
	if *s < 1<<10 {
		return humanize.Comma(int64(*s))
	}
	return humanize.IBytes(uint64(*s))
}

func (s *sizeFlag) Type() string { return "SIZE" }

func (s *sizeFlag) Set(value string) error {
	n, err := parseSize(value)
	*s = sizeFlag(n)
	return err
}

// maxSize leaves room to add to a size without overflow.
const maxSize = 1 << 62

// parseSize reads a number of bytes: 32, 4KiB, 1.5GiB, 10MB. It takes only the
// units from humanize. humanize.ParseBytes goes through a float64, and so drops
// fractions of a byte and the last digits of large sizes.
func parseSize(text string) (int64, error) {
	text = strings.TrimSpace(text)
	end := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		end = len(text)
	}
	number, suffix := text[:end], strings.TrimSpace(text[end:])
	if strings.HasPrefix(text, "-") {
		return 0, errors.New("a size cannot be negative")
	}
	amount, ok := new(big.Rat).SetString(number)
	if !ok || len(number) > 40 {
		return 0, errors.New("not a size: write it like 32, 4KiB or 10MB")
	}
	unit, err := humanize.ParseBytes("1" + suffix)
	// A suffix that is not all letters could add digits to the number.
	if err != nil || strings.Trim(strings.ToLower(suffix), "abcdefghijklmnopqrstuvwxyz") != "" {
		return 0, fmt.Errorf("no unit %q: use B, kB, MB, GB, KiB, MiB or GiB", suffix)
	}
	amount.Mul(amount, new(big.Rat).SetUint64(unit))
	switch {
	case !amount.IsInt():
		return 0, errors.New("not a whole number of bytes")
	case amount.Num().Cmp(big.NewInt(maxSize)) > 0:
		return 0, errors.New("too large: at most 4EiB")
	case amount.Sign() == 0:
		return 0, errors.New("a size is at least one byte")
	}
	return amount.Num().Int64(), nil
}

// passphraseOptions are the flags about a passphrase. The passphrase itself is
// never a flag, because others can see the command line.
type passphraseOptions struct {
	ask  bool
	file string
}

// minPassphrase is the length of the shortest new passphrase, in characters. It is what NIST
// SP 800-63B-4 section 3.1.1.2 wants where nothing else protects: who has the file can guess
// for years.
const minPassphrase = 15

// generatedWords are words out of 7,776 each, so that ten have 129 bits.
const generatedWords = 10

func (o *passphraseOptions) addTo(cmd *cobra.Command, what string) {
	cmd.Flags().BoolVar(&o.ask, "passphrase", false, what+" with a passphrase, asked for on the terminal")
	cmd.Flags().StringVar(&o.file, "passphrase-file", "", what+" with the first line of `FILE`")
}

func (o *passphraseOptions) wanted() bool { return o.ask || o.file != "" }

func (o *passphraseOptions) check() error {
	if o.ask && o.file != "" {
		return errors.New("--passphrase and --passphrase-file exclude each other: give one")
	}
	return nil
}

// read gets the passphrase, nil if none is wanted. For a new one it asks twice.
func (o *passphraseOptions) read(c *console, isNew bool) (passphrase []byte, err error) {
	switch {
	case o.file != "":
		data, err := readSecret(o.file)
		if err != nil {
			return nil, fmt.Errorf("--passphrase-file: %w", err)
		}
		passphrase, _, _ = bytes.Cut(data, []byte("\n"))
		passphrase = bytes.TrimSuffix(passphrase, []byte("\r"))
		clear(data[len(passphrase):])
		// Neither a person nor openssl would open a new key: nobody types a mark, and C ends at a
		// zero byte.
		if isNew && (bytes.HasPrefix(passphrase, []byte("\ufeff")) || bytes.IndexByte(passphrase, 0) >= 0) {
			clear(passphrase)
			return nil, fmt.Errorf("--passphrase-file: %s begins with a byte order mark, or has a zero byte: save it in UTF-8 without the mark", o.file)
		}
	case o.ask:
		prompt := "Passphrase: "
		if isNew {
			prompt = "Passphrase, or nothing to have one made: "
		}
		if passphrase, err = c.askSecret(prompt); err != nil {
			return nil, err
		}
		if isNew && len(passphrase) == 0 {
			return generatePassphrase(c)
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
	switch n := utf8.RuneCount(passphrase); {
	case n == 0:
		return nil, errors.New("the passphrase is empty")
	case isNew && n < minPassphrase:
		clear(passphrase)
		return nil, fmt.Errorf("the passphrase has %s, and a new one has %d or more: take several words, or --passphrase and Enter to have one made", count(int64(n), "character"), minPassphrase)
	}
	return passphrase, nil
}

// generatePassphrase makes a passphrase, and shows it on the terminal only: what goes into a
// file of messages stays there.
func generatePassphrase(c *console) ([]byte, error) {
	if !c.errTTY {
		return nil, errors.New("the passphrase is empty, and stderr is no terminal to show a new one on: type one")
	}
	words, err := diceware.Generate(generatedWords)
	if err != nil {
		return nil, err
	}
	passphrase := strings.Join(words, "-")
	c.note("the passphrase is shown now and not again, so write it down:")
	fmt.Fprintf(c.err, "\n  %s\n\n", passphrase)
	return []byte(passphrase), nil
}

// readSecret reads a file, which can be a pipe, into one place that the caller clears. A device
// that has no end has too much.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, keyfile.MaxSize+1)
	n, err := io.ReadFull(f, data)
	switch {
	case err == nil:
		clear(data)
		return nil, fmt.Errorf("%s has more than %d bytes: no secret is that large", path, keyfile.MaxSize)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return data[:n], nil
	}
	clear(data)
	return nil, err
}
