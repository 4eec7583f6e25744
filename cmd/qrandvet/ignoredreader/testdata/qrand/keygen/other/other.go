package other

const None = 0
