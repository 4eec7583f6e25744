package qrand

import (
	"encoding/hex"
	"go/ast"
	"go/parser"
	"go/token"
	"math/big"
	"math/bits"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// knownConstants are the numbers in the library that are neither small nor powers of two.
// Each has a function that computes it from what its comment names.
var knownConstants = map[uint64]func() bool{
	hashFactor: func() bool { // the odd one next to 2^64 over the golden ratio
		root, _ := new(big.Float).SetPrec(200).SetString("5")
		root.Sqrt(root)
		ratio := root.Add(root, big.NewFloat(1)) // twice the ratio
		n, _ := new(big.Float).SetPrec(200).Quo(new(big.Float).SetMantExp(big.NewFloat(1), 65), ratio).Uint64()
		return hashFactor == n|1
	},
}

// knownTexts returns the known answers of the self-test. The model computes them from what
// their comments name.
func knownTexts() string {
	var key [32]byte
	block := make([]byte, 1024)
	for i := range block {
		block[i] = byte(i)
	}
	copy(key[:], block)
	stream := modelBlock(key, [12]byte{3: 9, 7: 0x4a}, 1) // RFC 8439 section 2.3.2
	return hex.EncodeToString(stream[:]) + " " + hex.EncodeToString(modelSeed(key[:], 7, block))
}

// TestDisasterConstants: those who chose the constants of Dual_EC_DRBG may know a number that
// predicts its output (Shumow and Ferguson, 2007). In Juniper's ScreenOS somebody replaced
// one of them (CVE-2015-7756). Numbers of more than 16 bits in the source of the library are
// powers of two, or they have a comment beside them and are computed again here. There is no
// list of numbers, and no float with digits to choose. All texts are plain words, except for
// the known answers of the self-test, which are computed again, too. The labels that are
// hashed are in SECURITY.md. (This test reads literals. It does not see what is computed from
// small ones.)
func TestDisasterConstants(t *testing.T) {
	var labels []string
	files := 0
	seen := map[uint64]bool{}
	for _, dir := range []string{".", "qrypt", "internal/chacha20", "internal/health", "internal/supply", "internal/clock", "internal/osrand", "internal/scrub"} {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			files++
			set := token.NewFileSet()
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			file, err := parser.ParseFile(set, name, source, 0)
			if err != nil {
				t.Fatal(err)
			}
			for number, line := range suspects(t, set, file, &labels) {
				if text := strings.Split("\n"+string(source), "\n")[line-1 : line+1]; !strings.Contains(text[1], "//") && !strings.HasPrefix(strings.TrimSpace(text[0]), "//") {
					t.Errorf("%s:%d: no comment says where %#x is from", name, line, number)
				}
				seen[number] = true
				if from := knownConstants[number]; from != nil && !from() {
					t.Errorf("%s: %#x is not what its comment says", name, number)
				}
			}
		}
	}
	if files < 20 || len(seen) != len(knownConstants) {
		t.Errorf("%d files, %d of %d known constants", files, len(seen), len(knownConstants))
	}
	text, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, label := range labels {
		if !strings.HasPrefix(label, "qrand ") || !strings.Contains(string(text), `"`+label+`"`) {
			t.Errorf("the label %q is not in SECURITY.md", label)
		}
	}
	if len(labels) != 3 {
		t.Errorf("%d labels: %q", len(labels), labels)
	}
}

// encoded matches what a constant looks like in a text: 64 bits in hex, or 192 in base64.
var encoded = regexp.MustCompile(`[0-9a-fA-F]{16}|[0-9A-Za-z+/_-]{32}`)

// suspects reports the literals of a file that could hide something. It returns the lines of
// the known constants, and adds the constants named Label to labels.
func suspects(t *testing.T, set *token.FileSet, file *ast.File, labels *[]string) map[uint64]int {
	known, answers := map[uint64]int{}, knownTexts()
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.Field:
			return n.Tag == nil // a tag names a member of JSON
		case *ast.ValueSpec:
			for i, name := range n.Names {
				if strings.HasSuffix(name.Name, "Label") && i < len(n.Values) {
					label, err := strconv.Unquote(n.Values[i].(*ast.BasicLit).Value)
					if err != nil {
						t.Error(err)
					}
					*labels = append(*labels, label)
				}
			}
		case *ast.CompositeLit:
			numbers := 0
			for _, element := range n.Elts {
				if e, ok := element.(*ast.KeyValueExpr); ok {
					element = e.Value
				}
				if lit, ok := element.(*ast.BasicLit); ok && lit.Kind != token.STRING {
					numbers++
				}
			}
			if numbers >= 4 {
				t.Errorf("%v: a list of %d numbers: where are they from?", set.Position(n.Pos()), numbers)
			}
		case *ast.BasicLit:
			at := set.Position(n.Pos())
			switch n.Kind {
			case token.INT:
				v, err := strconv.ParseUint(n.Value, 0, 64)
				if err != nil {
					t.Errorf("%v: %s: %v", at, n.Value, err)
				}
				if v < 1<<16 || bits.OnesCount64(v) == 1 {
					break
				}
				if knownConstants[v] == nil {
					t.Errorf("%v: where is %s from?", at, n.Value)
				}
				known[v] = at.Line
			case token.FLOAT, token.IMAG:
				if len(n.Value) > 4 {
					t.Errorf("%v: where is %s from?", at, n.Value)
				}
			case token.STRING:
				text, err := strconv.Unquote(n.Value)
				if err != nil {
					t.Errorf("%v: %v", at, err)
				}
				plain := !encoded.MatchString(text) || strings.Contains(answers, text)
				for _, r := range text {
					plain = plain && (' ' <= r && r <= '~' || strings.ContainsRune("\n\r\t", r))
				}
				if !plain {
					t.Errorf("%v: this text is not plain words", at)
				}
			}
		}
		return true
	})
	return known
}

// TestDisasterSigma: the large numbers in the assembly are the constant of ChaCha, "expand
// 32-byte k" (RFC 8439, section 2.3), and masks that rotate words, which are indices of
// bytes. All others are below 2^16.
func TestDisasterSigma(t *testing.T) {
	assembly, err := os.ReadFile("internal/chacha20/kernels_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	const sigma = "expand 32-byte k"
	words := map[uint64]bool{}
	for i := 0; i < len(sigma); i += 4 {
		words[uint64(sigma[i])|uint64(sigma[i+1])<<8|uint64(sigma[i+2])<<16|uint64(sigma[i+3])<<24] = true
	}
	found := map[uint64]bool{}
	for _, number := range regexp.MustCompile(`\$-?(0x[0-9a-fA-F]+|[0-9]+)`).FindAllSubmatch(assembly, -1) {
		v, err := strconv.ParseUint(string(number[1]), 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		mask := v>>32 == 0
		for shift := 0; shift < 32; shift += 8 {
			mask = mask && v>>shift&0xff < 16
		}
		switch {
		case words[v]:
			found[v] = true
		case v >= 1<<16 && !mask:
			t.Errorf("where is %#x from?", v)
		}
	}
	if len(found) != len(words) || len(words) != 4 {
		t.Errorf("%d of ChaCha's 4 words are in the assembly", len(found))
	}
}
