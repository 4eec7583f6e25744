package outage

import "context"

// What a BlockSource may have besides Blocks; *qrypt.Client has it all.

// Endpoints is how many endpoints the source has to ask.
func Endpoints(source any) int {
	if s, ok := source.(interface{ Endpoints() []string }); ok {
		return max(1, len(s.Endpoints()))
	}
	return 1
}

// Failover makes the source ask another endpoint next than the one whose blocks
// were refused.
func Failover(source any, endpoint string) {
	if s, ok := source.(interface{ Failover(string) }); ok {
		s.Failover(endpoint)
	}
}

// TokenChanged reports whether the source has another token than the one that
// was refused.
func TokenChanged(ctx context.Context, source any) bool {
	s, ok := source.(interface{ TokenChanged(context.Context) bool })
	return ok && s.TokenChanged(ctx)
}
