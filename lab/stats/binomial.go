package main

import "math"

// alpha is how improbable a count must be, for a perfect generator, to be called a
// fault: a weekly run with a dozen such counts is wrong once in a thousand years.
const alpha = 1e-6

// usual returns the counts of successes, of n trials with probability p, that are
// not too improbable: outside of them lies alpha/2 at most on either side.
func usual(n int, p float64) (low, high int) {
	high = n
	below := 0.0 // the probability of fewer than k
	for k := 0; k <= n; k++ {
		probability := math.Exp(logChoose(n, k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
		if below <= alpha/2 {
			low = k
		}
		below += probability
		if 1-below <= alpha/2 {
			return low, k
		}
	}
	return low, high
}

func logChoose(n, k int) float64 {
	logFactorial := func(n int) float64 {
		l, _ := math.Lgamma(float64(n + 1))
		return l
	}
	return logFactorial(n) - logFactorial(k) - logFactorial(n-k)
}
