package main

import (
	"fmt"
	"strings"
)

// small is where a table changes from nanoseconds a Read to gigabytes a second.
const small = 1 << 10

// table returns rows as a Markdown table, one figure for a cell with its ratio
// to the baseline: 2.0 is twice as fast.
func table(rows []row, figure func([]float64) float64) string {
	var base row
	for _, r := range rows {
		if r.name == baseline {
			base = r
		}
	}
	var b strings.Builder
	b.WriteString("| Reader |")
	for _, size := range sizes {
		fmt.Fprintf(&b, " %s |", sizeName(size))
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(sizes)) + "\n")
	for _, r := range rows {
		name := r.name
		if r.ours {
			name = "**" + name + "**"
		}
		fmt.Fprintf(&b, "| %s |", name)
		for i, size := range sizes {
			ns := figure(r.ns[i])
			ratio := figure(base.ns[i]) / ns
			if size < small {
				fmt.Fprintf(&b, " %.0f ns (%.2f) |", ns, ratio)
			} else {
				fmt.Fprintf(&b, " %.2f GB/s (%.2f) |", float64(size)/ns, ratio)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func sizeName(size int) string {
	switch {
	case size >= 1<<20:
		return fmt.Sprintf("%d MiB", size>>20)
	case size >= 1<<10:
		return fmt.Sprintf("%d KiB", size>>10)
	}
	return fmt.Sprintf("%d B", size)
}
