// Reads the keys that qrand keygen wrote into a folder, with the OpenSSL that is
// in Node, and says of each one what it found.
'use strict'
const crypto = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')

const dir = process.argv[2]
const message = Buffer.from('a message')

for (const name of fs.readdirSync(dir).filter((f) => f.endsWith('.pem'))) {
  const file = path.join(dir, name)
  try {
    const key = crypto.createPrivateKey(fs.readFileSync(file))
    const written = crypto.createPublicKey(fs.readFileSync(file + '.pub'))
    if (!crypto.createPublicKey(key).equals(written)) throw new Error('another public key')
    if (key.asymmetricKeyType.startsWith('ml-kem')) {
      const { sharedKey, ciphertext } = crypto.encapsulate(written)
      if (!crypto.decapsulate(key, ciphertext).equals(sharedKey)) throw new Error('another secret')
    } else {
      if (!crypto.verify(null, message, written, crypto.sign(null, message, key))) throw new Error('another signature')
      const cert = new crypto.X509Certificate(fs.readFileSync(file + '.crt'))
      if (!cert.verify(written) || !cert.checkPrivateKey(key)) throw new Error('the certificate is not signed by it')
    }
    console.log(name, key.asymmetricKeyType)
  } catch (err) {
    console.log(name, 'FAILED', err.message)
  }
}
