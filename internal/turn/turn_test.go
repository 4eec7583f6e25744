package turn

import (
	"context"
	"slices"
	"testing"
)

func TestReport(t *testing.T) {
	Report(t.Context(), true) // nobody listens
	Report(With(t.Context(), nil), true)

	var outer, inner []bool
	ctx := With(t.Context(), func(waiting bool) { outer = append(outer, waiting) })
	Report(ctx, true)
	Report(ctx, false)
	child, cancel := context.WithCancel(ctx)
	cancel()
	Report(child, true)
	Report(With(child, func(waiting bool) { inner = append(inner, waiting) }), false)
	if !slices.Equal(outer, []bool{true, false, true}) || !slices.Equal(inner, []bool{false}) {
		t.Errorf("outer %v, inner %v", outer, inner)
	}
}
