//go:build go1.27

package ignored

import "crypto/mldsa"

func init() {
	more = func(add func(func())) {
		add(func() { mldsa.GenerateKey(mldsa.MLDSA44()) })
	}
}
