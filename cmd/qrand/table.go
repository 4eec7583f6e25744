package main

import (
	"io"
	"strings"
	"unicode/utf8"
)

// A cell is text and, if style is not nil, how to paint it. It is padded
// before it is painted, so that colours do not count as width.
type cell struct {
	text  string
	style func(string) string
}

// A table is rows under heads, its columns two spaces apart.
type table struct {
	heads []string
	right []bool // columns of numbers
	rows  [][]cell
}

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer, p palette) error {
	widths := make([]int, len(t.heads))
	for i, head := range t.heads {
		widths[i] = utf8.RuneCountInString(head)
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
		}
	}
	heads := make([]cell, len(t.heads))
	for i, head := range t.heads {
		heads[i] = cell{head, p.bold}
	}
	var b strings.Builder
	for _, row := range append([][]cell{heads}, t.rows...) {
		for i, c := range row {
			if i > 0 {
				b.WriteString("  ")
			}
			text := c.text
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
			if t.right[i] {
				text = pad + text
			} else if i < len(row)-1 {
				text += pad
			}
			if c.style != nil {
				text = c.style(text)
			}
			b.WriteString(text)
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}
