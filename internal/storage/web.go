// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// client talks to a web server.
type client struct {
	http   *http.Client
	header http.Header
}

const maxListing = 32 << 20

func newClient(t trust) *client {
	c := &client{http: &http.Client{Transport: newTransport(t)}, header: http.Header{}}
	c.http.CheckRedirect = c.follow
	return c
}

// follow follows redirects, with the range that is wanted. The client's headers
// may be credentials: they stay with the scheme, host and port that they are for,
// and do not come back once a redirect has led away. The address that the redirect
// comes from, which may be signed, is not passed on as Referer.
func (c *client) follow(request *http.Request, via []*http.Request) error {
	const most = 10
	if len(via) >= most {
		return errTooManyRedirects
	}
	if wanted := via[0].Header.Get("Range"); wanted != "" {
		request.Header.Set("Range", wanted)
	}
	request.Header.Del("Referer")
	home := originOf(via[0].URL)
	if originOf(request.URL) != home || slices.ContainsFunc(via, func(r *http.Request) bool { return originOf(r.URL) != home }) {
		for name := range c.header {
			request.Header.Del(name)
		}
	}
	return nil
}

// addressOf reads the address of a web server.
func addressOf(text string) (*url.URL, error) {
	address, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, err
	case address.Host == "" || address.Scheme != "http" && address.Scheme != "https":
		return nil, errors.New("it does not begin with https:// or http:// and the name of a host")
	}
	return address, nil
}

// originOf returns the scheme, host and port of an address.
func originOf(address *url.URL) string {
	scheme := strings.ToLower(address.Scheme)
	port := cmp.Or(address.Port(), map[string]string{"http": "80", "https": "443"}[scheme])
	return scheme + "://" + net.JoinHostPort(strings.ToLower(address.Hostname()), port)
}

// withoutHeaders returns the client for other servers than the one that the headers are for.
func (c *client) withoutHeaders() *client { return &client{http: c.http, header: http.Header{}} }

func (c *client) do(ctx context.Context, method, address string, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	for _, values := range []http.Header{c.header, header} {
		maps.Copy(request.Header, values)
	}
	answer, err := c.http.Do(request)
	if failed, is := errors.AsType[*url.Error](err); is {
		failed.URL = Redacted(failed.URL)
	}
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= http.StatusMultipleChoices {
		return nil, errors.Join(c.refused(request, answer), answer.Body.Close())
	}
	return answer, nil
}

// refused says why a server refuses a request: in its body, or in the Hub's headers.
func (c *client) refused(request *http.Request, answer *http.Response) error {
	const longest = 8 << 10
	body, _ := io.ReadAll(io.LimitReader(answer.Body, longest)) // What cannot be read explains nothing.
	r := refusal{status: answer.StatusCode, location: answer.Header.Get("Location")}
	r.code, r.message = described(string(body))
	if code := cmp.Or(answer.Header.Get("X-Error-Code"), answer.Header.Get("X-Ms-Error-Code")); code != "" {
		r.code, r.message = code, cmp.Or(firstLine(answer.Header.Get("X-Error-Message")), r.message)
	}
	hasLeft := answer.Request != nil && originOf(answer.Request.URL) != originOf(request.URL)
	if hasLeft {
		r.host = answer.Request.URL.Host
	}
	_, isKnown := codes[r.code]
	switch {
	case r.diagnose().kind != Forbidden:
	case hasLeft && len(c.header) > 0:
		r.remedy = "credentials are not sent to another scheme, host or port than they are for: use the address that the redirect leads to"
	case isKnown && r.code != "AccessDenied" && r.code != "AuthenticationFailed": // These two are S3's and Azure's for about everything.
	case request.URL.RawQuery != "":
		r.remedy = "if the address is signed, the signature may have expired: sign it again"
	case len(c.header) == 0:
		r.remedy = noCredentialsRemedy
	default:
		r.remedy = "the credentials are not accepted, or lack access: check them in the secret of the ServiceAccount"
	}
	return r
}

// read reads a range of what is at an address, if it still has the tag that it was listed with.
func (c *client) read(ctx context.Context, address string, object Object, offset, length int64) (io.ReadCloser, error) {
	header := http.Header{}
	isRange := offset > 0 || length >= 0 && !object.Whole
	if isRange {
		wanted := fmt.Sprintf("bytes=%d-", offset)
		if length >= 0 {
			wanted += fmt.Sprint(offset + length - 1)
		}
		header.Set("Range", wanted)
	}
	answer, err := c.do(ctx, http.MethodGet, address, header)
	if err != nil {
		return nil, fail(object.Name, err)
	}
	switch {
	case isRange && answer.StatusCode != http.StatusPartialContent:
		err = fail(object.Name, wrongRange{asked: header.Get("Range"), got: "everything"})
	case !isRange && answer.StatusCode == http.StatusPartialContent:
		err = fail(object.Name, wrongRange{asked: "everything", got: answer.Header.Get("Content-Range")})
	case isRange && !isTotal(answer.Header.Get("Content-Range"), object.Size):
		err = changed(object)
	case object.Tag != "" && answer.Header.Get("ETag") != object.Tag:
		err = changed(object)
	default:
		return answer.Body, nil
	}
	return nil, errors.Join(err, answer.Body.Close())
}

// Close implements [Source].
func (c *client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// web is a source at one address.
type web struct {
	*client
	uri string
}

const headersRemedy = "correct the key headers of the secret"

// openWeb takes the headers that KServe takes, out of a variable with the name
// of the host, such as example.com-headers.
func openWeb(uri string, env Environment) (Source, error) {
	parsed, err := url.Parse(uri)
	if err != nil || parsed.Host == "" {
		return nil, invalid(uri, "it is not an address; write https://host/path")
	}
	source := &web{client: newClient(trust{anybody: env.isOff("HTTPS_VERIFY_SSL")}), uri: uri}
	// KServe's own is without the port.
	if given := cmp.Or(env(parsed.Host+"-headers"), env(parsed.Hostname()+"-headers")); given != "" {
		headers := map[string]string{}
		if err := json.Unmarshal([]byte(given), &headers); err != nil {
			return nil, badSetting(uri, headersRemedy, "the headers for %s are not a JSON object of names and values", parsed.Host)
		}
		for name, value := range headers {
			if name == "" || strings.ContainsAny(name, " :\r\n") || strings.ContainsAny(value, "\r\n\x00") {
				return nil, badSetting(uri, headersRemedy, "the header %q for %s has a line break, or another character that is not allowed",
					name, parsed.Host)
			}
			source.header.Set(name, value)
		}
	}
	return source, nil
}

// List implements [Source]: it asks what there is to be read, and whether in
// ranges. An address that is signed for reading may refuse to be asked with HEAD,
// and so the first byte is read then.
func (w *web) List(ctx context.Context) ([]Object, error) {
	answer, err := w.do(ctx, http.MethodHead, w.uri, nil)
	if status := statusOf(err); status >= http.StatusBadRequest && status < http.StatusInternalServerError || status == http.StatusNotImplemented {
		answer, err = w.do(ctx, http.MethodGet, w.uri, http.Header{"Range": {"bytes=0-0"}})
	}
	if statusOf(err) == http.StatusRequestedRangeNotSatisfiable { // It is empty.
		return []Object{{Name: w.name(), Key: w.uri, Size: unknownSize, Whole: true, Alone: true}}, nil
	}
	if err != nil {
		return nil, fail(w.uri, err)
	}
	_ = answer.Body.Close()
	tag := answer.Header.Get("ETag")
	if !strings.HasPrefix(tag, `"`) {
		tag = "" // It does not tell versions apart byte by byte.
	}
	size, inRanges := answer.ContentLength, answer.Header.Get("Accept-Ranges") == "bytes"
	if answer.StatusCode == http.StatusPartialContent {
		size, inRanges = totalOf(answer.Header.Get("Content-Range")), true
	}
	return []Object{{
		Name: w.name(), Key: w.uri, Size: size, Alone: true,
		Tag: tag, Version: cmp.Or(tag, answer.Header.Get("Last-Modified")),
		// Without a tag, nothing would show that two ranges are of two versions.
		Whole: !inRanges || size < 0 || tag == "",
	}}, nil
}

// isTotal reports whether a Content-Range is of a whole of this size, as far as both are known.
func isTotal(contentRange string, size int64) bool {
	total := totalOf(contentRange)
	return total == unknownSize || size == unknownSize || total == size
}

// totalOf is the length of the whole that a Content-Range, such as bytes 0-0/1234, is of.
func totalOf(contentRange string) int64 {
	_, total, _ := strings.Cut(contentRange, "/")
	size, err := strconv.ParseInt(total, 10, 64)
	if err != nil {
		return unknownSize // A star, or nothing.
	}
	return size
}

// name is the last part of the path.
func (w *web) name() string {
	parsed, err := url.Parse(w.uri)
	if err != nil {
		return "model"
	}
	if name := path.Base(parsed.Path); name != "/" && name != "." && !strings.Contains(name, "\\") {
		return name
	}
	return "model"
}

// Read implements [Source].
func (w *web) Read(ctx context.Context, object Object, offset, length int64) (io.ReadCloser, error) {
	return w.read(ctx, w.uri, object, offset, length)
}
