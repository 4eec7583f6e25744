module early

go 1.26

require (
	alphabet.example v0.0.0
	example.com/qrand v0.0.0
	lib.example v0.0.0
	m v0.0.0
)

replace (
	alphabet.example => ./alphabet
	example.com/qrand => ../../../..
	lib.example => ../replaced/lib
	m => ../replaced
)
