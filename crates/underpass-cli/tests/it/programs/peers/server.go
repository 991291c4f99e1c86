package main

import (
	"compress/gzip"
	"io"
	"net/http"
	"os"
)


type wrapped struct{ http.ResponseWriter }

func main() {
	mode, address := os.Args[1], os.Args[2]
	files := http.FileServer(http.Dir("."))
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch mode {
		case "wrapped":
			files.ServeHTTP(wrapped{w}, r)
		case "gzip":
			file, err := os.Open("." + r.URL.Path)
			if err != nil {
				http.Error(w, err.Error(), 404)
				return
			}
			defer file.Close()
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.Copy(z, file)
			z.Close()
		default:
			files.ServeHTTP(w, r)
		}
	})
	panic(http.ListenAndServe(address, handler))
}
