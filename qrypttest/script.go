package qrypttest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The options a statement may have, besides its count.
const (
	wordRetryAfter     = "retry-after"
	wordRetryAfterDate = "retry-after-date"
	wordLatency        = "latency"
)

// A status below 200 is not an answer, and 200 is what "ok" is for.
const (
	minStatus = 201
	maxStatus = 999
)

// ParseScript reads faults from text: statements that end with a semicolon or
// the line, where "#" starts a comment that ends with the line. A statement is
//
//	KIND [retry-after=DURATION | retry-after-date=DURATION] [latency=DURATION] [xN | x*]
//
// with a three-digit status or the name of another kind, durations as
// time.ParseDuration reads them (those of retry-after in whole seconds), and
// how many requests it holds for: one if nothing is said, all with x*.
//
//	429 retry-after=5s x3; ok x2   # a rate limit, then two answers
//	hang
//	503 x*
func ParseScript(text string) ([]Fault, error) {
	var faults []Fault
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		for statement := range strings.SplitSeq(line, ";") {
			words := strings.Fields(statement)
			if len(words) == 0 {
				continue
			}
			f, err := parseStatement(words)
			if err != nil {
				return nil, fmt.Errorf("qrypttest: script, line %d: %w", n+1, err)
			}
			faults = append(faults, f)
		}
	}
	return faults, nil
}

func parseStatement(words []string) (f Fault, err error) {
	if f.Kind, f.Status, err = parseKind(words[0]); err != nil {
		return f, err
	}
	seen := make(map[string]bool)
	for _, word := range words[1:] {
		name, value, isOption := strings.Cut(word, "=")
		switch {
		case isOption && (name == wordRetryAfter || name == wordRetryAfterDate):
			f.RetryAfterDate = name == wordRetryAfterDate
			name = wordRetryAfter
			if f.RetryAfter, err = parseDuration(word, value); err == nil && f.RetryAfter%time.Second != 0 {
				err = fmt.Errorf("%q: want whole seconds", word)
			}
		case isOption && name == wordLatency:
			f.Latency, err = parseDuration(word, value)
		case !isOption && word[0] == 'x':
			name = "x"
			f.Times, err = parseTimes(word)
		default:
			err = fmt.Errorf("%q: want %s=DURATION, %s=DURATION, %s=DURATION, xN or x*",
				word, wordRetryAfter, wordRetryAfterDate, wordLatency)
		}
		if err != nil {
			return f, err
		}
		if seen[name] {
			return f, fmt.Errorf("%q: said before in this statement", word)
		}
		seen[name] = true
	}
	return f, nil
}

func parseKind(word string) (Kind, int, error) {
	if len(word) == 3 && strings.Trim(word, "0123456789") == "" {
		status, _ := strconv.Atoi(word)
		if status < minStatus || status > maxStatus {
			return 0, 0, fmt.Errorf("status %q: want %d to %d, or ok", word, minStatus, maxStatus)
		}
		return Status, status, nil
	}
	if i := slices.Index(kindNames[:], word); i >= 0 && Kind(i) != Status {
		return Kind(i), 0, nil
	}
	names := slices.Delete(slices.Clone(kindNames[:]), int(Status), int(Status)+1)
	return 0, 0, fmt.Errorf("kind %q: want a status from %d to %d, or one of %s",
		word, minStatus, maxStatus, strings.Join(names, ", "))
}

func parseDuration(word, value string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q: want a duration above zero, such as 5s or 300ms", word)
	}
	return d, nil
}

func parseTimes(word string) (int, error) {
	if word == "x*" {
		return -1, nil
	}
	// Atoi alone would also accept a sign.
	n, err := strconv.Atoi(word[1:])
	if err != nil || n < 1 || strings.Trim(word[1:], "0123456789") != "" {
		return 0, fmt.Errorf("%q: want xN with a number N above zero, or x*", word)
	}
	return n, nil
}
