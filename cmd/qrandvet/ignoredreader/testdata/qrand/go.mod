module example.com/qrand

go 1.26
