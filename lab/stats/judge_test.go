package main

import (
	"math/big"
	"strings"
	"testing"
)

// TestUsual: outside of the bounds lies alpha/2 at most, and one step further in
// lies more, by exact arithmetic.
func TestUsual(t *testing.T) {
	for _, c := range []struct {
		n    int
		a, b int64 // the probability is a/b
		both bool  // low is not 0
	}{
		{5, 1, 50, false},
		{20, 1, 50, false},
		{500, 1, 4, true},
		{2000, 17, 20000, false},
		{100, 1, 2, true},
	} {
		rare := func(from, to int) bool { // so many have a probability of alpha/2 at most
			sum := new(big.Int)
			for k := from; k <= to; k++ {
				term := new(big.Int).Binomial(int64(c.n), int64(k))
				term.Mul(term, power(c.a, k))
				sum.Add(sum, term.Mul(term, power(c.b-c.a, c.n-k)))
			}
			sum.Mul(sum, big.NewInt(2/alpha))
			return sum.Cmp(power(c.b, c.n)) <= 0
		}
		low, high := usual(c.n, float64(c.a)/float64(c.b))
		if !rare(high+1, c.n) || rare(high, c.n) {
			t.Errorf("of %d with %d/%d: high = %d", c.n, c.a, c.b, high)
		}
		if !rare(0, low-1) || rare(0, low) || c.both != (low > 0) {
			t.Errorf("of %d with %d/%d: low = %d", c.n, c.a, c.b, low)
		}
	}
}

func power(x int64, n int) *big.Int {
	return new(big.Int).Exp(big.NewInt(x), big.NewInt(int64(n)), nil)
}

// TestParse reads lines as the tools print them.
func TestParse(t *testing.T) {
	passed, failed, err := parseRngtest("rngtest: FIPS 140-2 successes: 849276\nrngtest: FIPS 140-2 failures: 724\nrngtest: FIPS 140-2(2001-10-10) Monobit: 85\n")
	if passed != 849276 || failed != 724 || err != nil {
		t.Errorf("rngtest: %d, %d, %v", passed, failed, err)
	}
	for text, want := range map[string]float64{
		"Chi square distribution for 268435456 samples is 270.81, and randomly\nwould exceed this value 23.72 percent of the times.": 23.72,
		"would exceed this value less than 0.01 percent of the times.":                                                               0,
		"would exceed this value more than than 99.99 percent of the times.":                                                         100,
	} {
		if got, err := parseEnt(text); got != want || err != nil {
			t.Errorf("ent: %v, %v, want %v", got, err, want)
		}
	}
	if _, err := parseEnt("Entropy = 7.999999 bits per byte."); err == nil {
		t.Error("ent without a chi-square is no error")
	}
	if _, _, err := parseRngtest("rngtest: starting FIPS tests..."); err == nil {
		t.Error("rngtest without counts is no error")
	}
}

// TestDieharderAgain: a result that was PASSED once is none, one that was FAILED
// twice or never PASSED is a fault, and more runs are made until one or the other.
func TestDieharderAgain(t *testing.T) {
	for _, c := range []struct {
		runs  []string // the assessments of two results
		more  bool
		fault bool
	}{
		{[]string{"PASSED PASSED"}, false, false},
		{[]string{"PASSED WEAK"}, true, true},
		{[]string{"PASSED WEAK", "WEAK PASSED"}, false, false},
		{[]string{"PASSED FAILED"}, true, true},
		{[]string{"PASSED FAILED", "PASSED PASSED"}, false, false},
		{[]string{"PASSED FAILED", "FAILED FAILED"}, false, true},
		{[]string{"PASSED WEAK", "FAILED WEAK", "FAILED PASSED"}, false, true},
		{[]string{"WEAK PASSED", "WEAK PASSED", "FAILED PASSED", "WEAK PASSED"}, true, true},
	} {
		var all []result
		var err error
		for _, run := range c.runs {
			first, second, _ := strings.Cut(run, " ")
			text := "       diehard_craps,   0,0.50457973,  " + first + "  \n       diehard_craps,   0,0.87309473,   " + second + "   \n"
			if all, err = addResults(all, text); err != nil {
				t.Fatal(err)
			}
		}
		fault := false
		for _, r := range all {
			fault = fault || r.fault()
		}
		if undecided(all) != c.more || fault != c.fault {
			t.Errorf("%q: undecided %t, fault %t", c.runs, undecided(all), fault)
		}
	}
	for _, text := range []string{"", "# stdin_input_raw(): Error: EOF\n", "diehard_runs,0,0.1,SPLENDID\n"} {
		if _, err := addResults(nil, text); err == nil {
			t.Errorf("%q is no error", text)
		}
	}
}
