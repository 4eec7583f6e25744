module calls

go 1.26

require example.com/qrand v0.0.0

replace example.com/qrand => ./qrand
