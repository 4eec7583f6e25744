module m

go 1.26

require lib.example v0.0.0

replace lib.example => ./lib
