// What Node (that is, OpenSSL 3.5) makes of a key's files. In: JSON, a key an
// entry. Out: JSON, its answers under the same names; the test compares.
import crypto from 'node:crypto';
import fs from 'node:fs';

const bytes = s => Buffer.from(s, 'base64');
const text = b => Buffer.from(b).toString('base64');
const spki = key => text(crypto.createPublicKey(key).export({ format: 'der', type: 'spki' }));

function answer(q) {
  const a = {};
  const priv = crypto.createPrivateKey({ key: bytes(q.private), format: 'der', type: 'pkcs8' });
  const pub = crypto.createPublicKey({ key: bytes(q.public), format: 'der', type: 'spki' });
  a.type = priv.asymmetricKeyType;
  a.fromPrivate = spki(priv);
  a.fromPublic = text(pub.export({ format: 'der', type: 'spki' }));
  if (q.encrypted) a.fromEncrypted = spki(crypto.createPrivateKey({ key: q.encrypted, passphrase: q.passphrase }));
  if (q.privateJWK) {
    const key = crypto.createPrivateKey({ key: JSON.parse(q.privateJWK), format: 'jwk' });
    a.fromPrivateJWK = spki(key);
    a.jwk = key.export({ format: 'jwk' });
    a.fromPublicJWK = text(crypto.createPublicKey({ key: JSON.parse(q.publicJWK), format: 'jwk' }).export({ format: 'der', type: 'spki' }));
  }
  if (q.message) a.signature = text(crypto.sign(null, bytes(q.message), priv));
  if (q.certificate) {
    const c = new crypto.X509Certificate(bytes(q.certificate));
    a.certificateVerified = c.verify(c.publicKey) && c.verify(pub) && c.checkIssued(c);
    a.fromCertificate = text(c.publicKey.export({ format: 'der', type: 'spki' }));
  }
  if (q.ciphertext) {
    a.decapsulated = text(crypto.decapsulate(priv, bytes(q.ciphertext)));
    const e = crypto.encapsulate(pub);
    a.ciphertext = text(e.ciphertext);
    a.secret = text(e.sharedKey);
  }
  return a;
}

const answers = {};
for (const [name, q] of Object.entries(JSON.parse(fs.readFileSync(0)))) {
  try { answers[name] = answer(q); } catch (e) { answers[name] = { error: String(e) }; }
}
console.log(JSON.stringify(answers));
