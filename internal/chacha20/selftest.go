package chacha20

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20"
)

// SelfTest compares the kernels that Blocks uses on this processor with known answers, and
// names the one that is wrong. The first block is that of RFC 8439 section 2.3.2. No vector
// is as long as a pass of a kernel, so x/crypto makes the blocks after it. It makes each
// block by itself, so that not even x/crypto is compared with itself. Each kernel makes full
// passes, and passes that end at any block.
func SelfTest() error {
	var key [KeySize]byte
	for i := range key {
		key[i] = byte(i)
	}
	nonce := [nonceSize]byte{3: 9, 7: 0x4a}
	const most, counter = 64, 1
	known := make([]byte, most*BlockSize)
	for i := range uint32(most) {
		c, err := chacha20.NewUnauthenticatedCipher(key[:], nonce[:])
		if err != nil {
			return fmt.Errorf("chacha20: self-test: %w", err)
		}
		c.SetCounter(counter + i)
		block := known[i*BlockSize:][:BlockSize]
		c.XORKeyStream(block, block)
	}
	if hex.EncodeToString(known[:BlockSize]) != rfcBlock {
		return errors.New("chacha20: self-test: x/crypto's block is not that of RFC 8439")
	}
	dst := make([]byte, most*BlockSize)
	for blocks := 1; blocks <= most; blocks++ {
		clear(dst)
		stream(dst[:blocks*BlockSize], &key, &nonce, counter, false)
		if !bytes.Equal(dst[:blocks*BlockSize], known[:blocks*BlockSize]) {
			return fmt.Errorf("chacha20: self-test: the kernel for %s makes %d bytes that are wrong", kernelFor(blocks), blocks*BlockSize)
		}
	}
	return nil
}

const rfcBlock = "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e" +
	"d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
