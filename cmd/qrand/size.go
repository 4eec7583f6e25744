package main

import (
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/dustin/go-humanize"
)

// maxSize leaves room to add to a size without overflow.
const maxSize = 1 << 62

// parseSize reads a number of bytes: 32, 4KiB, 1.5GiB, 10MB. It takes units
// from humanize, and numbers exactly: humanize.ParseBytes goes through a
// float64, which drops fractions of a byte and the last digits of large sizes.
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
	// With what is not a letter, the suffix could add to the number.
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
