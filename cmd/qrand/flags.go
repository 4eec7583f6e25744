package main

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
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

// A waitFlag is a flag whose value is a time of zero or more.
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
