package main

import (
	"context"
	"crypto/fips140"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"example.com/qrand"
)

const (
	pieceSize    = 64 << 10 // output is streamed in pieces of this size
	bulkSize     = 1 << 20  // a longer read asks for more blocks at a time
	bulkBatch    = 8
	progressSize = 16 << 20 // a shorter read ends before anybody could see its progress
)

// readOptions are the flags of qrand read.
type readOptions struct {
	size   sizeFlag
	format choice
	file   string
	force  bool
	mix    choice

	entropy entropyOptions
}

func newReadCommand(c *console) *cobra.Command {
	o := readOptions{
		size:    32,
		format:  choice{"raw", []string{"raw", "hex", "base64"}},
		mix:     choice{"xor", []string{"xor", "rekey", "refill"}},
		entropy: newEntropyOptions(),
	}
	cmd := &cobra.Command{
		Use:   "read [flags]",
		Short: "Print random bytes",
		Long: `Prints random bytes, like openssl rand. They come from crypto/rand, with
quantum entropy from the service mixed in. If the service does not answer, the
bytes come anyway, as good as crypto/rand. A note on stderr then says that they
contain no quantum entropy, and why. With --require no bytes come in that case.

A read asks the service for one block of 1,024 bytes. A read of more than 1 MiB
asks for more while it goes on. Raw bytes are not printed to a terminal.

--require initial wants a block before the first byte. --require fresh also
stops if later the last block is more than ten minutes old. Both refuse the
blocks of an emulator without --rehearsal. --mix says where crypto/rand enters:
xor over every byte, rekey once for each 64 KiB (faster), refill once for each
4,064 bytes of a buffer.`,
		Example: `  qrand read -n 32 --format hex
  qrand read -n 32 -o seed.bin --require initial
  qrand read -n 1GiB --mix rekey | pv >/dev/null`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.file == "-" {
				o.file = ""
			}
			if o.file == "" && c.outTTY && o.format.value == "raw" {
				return misused(cmd, "raw bytes would garble the terminal: use --format hex, or -o FILE")
			}
			if o.file == "" && o.force {
				return misused(cmd, "--force is about -o, which is not given")
			}
			if o.mix.value != "xor" && fips140.Enforced() {
				return misused(cmd, "--mix %s is not allowed in FIPS 140-only mode (GODEBUG=fips140=only): leave it out", o.mix.value)
			}
			if err := o.entropy.check(); err != nil {
				return misused(cmd, "%w", err)
			}
			return runRead(cmd.Context(), c, o)
		},
	}
	f := cmd.Flags()
	f.VarP(&o.size, "size", "n", "how many bytes: 32, 4KiB, 1GiB, 10MB")
	addChoice(cmd, &o.format, "format", "how to print them")
	f.StringVarP(&o.file, "output", "o", "", "write to a new `FILE`, for its owner only; - is stdout")
	f.BoolVar(&o.force, "force", false, "replace FILE if it exists")
	o.entropy.addRequire(cmd, "fail without quantum entropy")
	addChoice(cmd, &o.mix, "mix", "where crypto/rand enters")
	o.entropy.addWait(cmd)
	return cmd
}

func runRead(ctx context.Context, c *console, o readOptions) error {
	out, err := openOutput(c, o.file, o.force)
	if err != nil {
		return err
	}
	defer out.discard()
	cfg := qrand.Config{
		Mix:           map[string]qrand.Mix{"xor": qrand.MixXOR, "rekey": qrand.MixRekey, "refill": qrand.MixRefill}[o.mix.value],
		Policy:        o.entropy.policy(),
		BatchBlocks:   1, // a stock would be lost when the program ends
		AllowEmulated: o.entropy.rehearsal,
	}
	if o.size > bulkSize {
		cfg.BatchBlocks = bulkBatch
	}
	src, err := newSource(cfg)
	if err != nil {
		return err
	}
	defer src.Close()

	seeded, err := o.entropy.seed(ctx, c, src, "these bytes, they are")
	if err != nil {
		return err
	}
	shown := newProgress(c, o, src)
	err = stream(ctx, io.MultiWriter(out, shown), src, o)
	shown.end(err)
	if err != nil {
		return err
	}
	if err := out.keep(); err != nil {
		return err
	}
	st := src.Status()
	if !seeded && st.Blocks > 0 {
		c.note("the first block came after %s: the bytes from there on contain its entropy", humanize.IBytes(uint64(st.BytesBeforeBlock)))
	}
	noteDegraded(c, st)
	if st.Emulated {
		c.note("the entropy in these bytes is EMULATED, not quantum")
	}
	return nil
}

// stream writes the bytes, encoded, a piece at a time.
func stream(ctx context.Context, w io.Writer, src io.Reader, o readOptions) error {
	enc := newEncoder(o.format.value, w)
	piece := make([]byte, min(pieceSize, int64(o.size)))
	defer clear(piece)
	for left := int64(o.size); left > 0; {
		if ctx.Err() != nil {
			return errInterrupted
		}
		p := piece[:min(left, pieceSize)]
		if _, err := io.ReadFull(src, p); err != nil {
			return o.entropy.failed(err)
		}
		if _, err := enc.Write(p); err != nil {
			return fmt.Errorf("writing the bytes: %w", err)
		}
		left -= int64(len(p))
	}
	if err := enc.close(); err != nil {
		return fmt.Errorf("writing the bytes: %w", err)
	}
	return nil
}

// An encoder writes bytes in a format. In text formats, close ends the line.
type encoder struct {
	io.Writer
	close func() error
}

func newEncoder(format string, w io.Writer) encoder {
	newline := func() error {
		_, err := w.Write([]byte("\n"))
		return err
	}
	switch format {
	case "hex":
		return encoder{hex.NewEncoder(w), newline}
	case "base64":
		enc := base64.NewEncoder(base64.StdEncoding, w)
		return encoder{enc, func() error {
			if err := enc.Close(); err != nil {
				return err
			}
			return newline()
		}}
	}
	return encoder{w, func() error { return nil }}
}

// encodedLen is the length of n bytes in a format, for any n that somebody could
// wait for.
func encodedLen(format string, n int64) int64 {
	n = min(n, maxSize/2)
	switch format {
	case "hex":
		return 2*n + 1
	case "base64":
		return (n+2)/3*4 + 1
	}
	return n
}

// A progress shows on a terminal how far a long read is. The encoded bytes are
// also written to it: in hex and base64 there are more of them.
type progress struct {
	spin    *spinner // nil: nothing is shown
	src     *qrand.Source
	c       *console
	began   time.Time
	shown   time.Time
	written int64
	length  int64 // of the output
}

// newProgress shows something only if the read is long enough, and its bytes do
// not go to the same terminal.
func newProgress(c *console, o readOptions, src *qrand.Source) *progress {
	p := &progress{src: src, c: c, began: time.Now(), length: encodedLen(o.format.value, int64(o.size))}
	if c.errTTY && o.size >= progressSize && (o.file != "" || !c.outTTY) {
		p.spin = c.newSpinner(c.err, true, p.text())
	}
	return p
}

func (p *progress) text() string {
	took := time.Since(p.began)
	rate := float64(p.written) / max(took.Seconds(), 0.001)
	left := ""
	if p.written > 0 && took > time.Second {
		seconds := min(float64(p.length-p.written)/rate, 1e9) // more do not fit in a Duration
		left = fmt.Sprintf(", %v left", time.Duration(seconds)*time.Second)
	}
	return fmt.Sprintf("%d%% of %s, %s/s%s, %s", int(100*float64(p.written)/float64(p.length)), humanize.IBytes(uint64(p.length)),
		humanize.IBytes(uint64(rate)), left, count(p.src.Status().Blocks, "block"))
}

func (p *progress) Write(b []byte) (int, error) {
	p.written += int64(len(b))
	if p.spin != nil && time.Since(p.shown) > spinnerPeriod {
		p.shown = time.Now()
		p.spin.say(p.text())
	}
	return len(b), nil
}

// end removes the progress. If the read succeeded, it prints a line about it.
func (p *progress) end(err error) {
	if p.spin == nil {
		return
	}
	p.spin.end()
	if err != nil {
		return
	}
	took := time.Since(p.began)
	st := p.src.Status()
	fmt.Fprintf(p.c.err, "%s in %v, %s/s, %s used\n", humanize.IBytes(uint64(st.Bytes)), took.Round(10*time.Millisecond),
		humanize.IBytes(uint64(float64(st.Bytes)/took.Seconds())), count(st.Blocks, "block"))
}
