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

type client struct {
	http   *http.Client
	header http.Header
}

const maxListing = 32 << 20

func newClient(t trust) *client {
	c := &client{http: &http.Client{Transport: newTransport(t)}, header: http.Header{}}
	c.http.CheckRedirect = c.checkRedirect
	return c
}

// checkRedirect keeps the requested range in a redirected request. The client's headers may be
// credentials, so they are dropped as soon as one redirect leads to another scheme, host or port.
// The Referer header is removed, because the original URL may be signed.
func (c *client) checkRedirect(request *http.Request, via []*http.Request) error {
	const maxRedirects = 10
	if len(via) >= maxRedirects {
		return errTooManyRedirects
	}
	if requested := via[0].Header.Get("Range"); requested != "" {
		request.Header.Set("Range", requested)
	}
	request.Header.Del("Referer")
	origin := originOf(via[0].URL)
	if originOf(request.URL) != origin || slices.ContainsFunc(via, func(r *http.Request) bool { return originOf(r.URL) != origin }) {
		for name := range c.header {
			request.Header.Del(name)
		}
	}
	return nil
}

func addressOf(text string) (*url.URL, error) {
	address, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, err
	case address.Host == "" || address.Scheme != "http" && address.Scheme != "https":
		return nil, errors.New("it does not begin with https:// or http:// and a host name")
	}
	return address, nil
}

func originOf(address *url.URL) string {
	scheme := strings.ToLower(address.Scheme)
	port := cmp.Or(address.Port(), map[string]string{"http": "80", "https": "443"}[scheme])
	return scheme + "://" + net.JoinHostPort(strings.ToLower(address.Hostname()), port)
}

func (c *client) withoutHeaders() *client { return &client{http: c.http, header: http.Header{}} }

func (c *client) do(ctx context.Context, method, address string, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	for _, values := range []http.Header{c.header, header} {
		maps.Copy(request.Header, values)
	}
	response, err := c.http.Do(request)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		failed.URL = Redacted(failed.URL)
	}
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return nil, errors.Join(c.newResponseError(request, response), response.Body.Close())
	}
	return response, nil
}

func (c *client) newResponseError(request *http.Request, response *http.Response) error {
	const maxBody = 8 << 10
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxBody)) // An incomplete body is not an error of its own.
	r := responseError{status: response.StatusCode, location: response.Header.Get("Location")}
	r.code, r.message = parseErrorBody(string(body))
	if code := cmp.Or(response.Header.Get("X-Error-Code"), response.Header.Get("X-Ms-Error-Code")); code != "" {
		r.code, r.message = code, cmp.Or(firstLine(response.Header.Get("X-Error-Message")), r.message)
	}
	leftOrigin := response.Request != nil && originOf(response.Request.URL) != originOf(request.URL)
	if leftOrigin {
		r.host = response.Request.URL.Host
	}
	_, isKnown := codes[r.code]
	switch {
	case r.diagnose().kind != Forbidden:
	case leftOrigin && len(c.header) > 0:
		r.remedy = "credentials are not sent to another scheme, host or port than they are for: use the target address of the redirect"
	case isKnown && r.code != "AccessDenied" && r.code != "AuthenticationFailed": // S3 and Azure use these two for many causes.
	case request.URL.RawQuery != "":
		r.remedy = "if the address is signed, the signature may have expired: sign it again"
	case len(c.header) == 0:
		r.remedy = noCredentialsRemedy
	default:
		r.remedy = "the credentials are not accepted, or lack access: check them in the secret of the ServiceAccount"
	}
	return r
}

// read returns a range of a URL's content. It fails if the tag has changed since the listing.
func (c *client) read(ctx context.Context, address string, object Object, offset, length int64) (io.ReadCloser, error) {
	header := http.Header{}
	isRange := offset > 0 || length >= 0 && !object.Whole
	if isRange {
		value := fmt.Sprintf("bytes=%d-", offset)
		if length >= 0 {
			value += fmt.Sprint(offset + length - 1)
		}
		header.Set("Range", value)
	}
	response, err := c.do(ctx, http.MethodGet, address, header)
	if err != nil {
		return nil, wrapError(object.Name, err)
	}
	switch {
	case isRange && response.StatusCode != http.StatusPartialContent:
		err = wrapError(object.Name, wrongRange{requested: header.Get("Range"), got: "everything"})
	case !isRange && response.StatusCode == http.StatusPartialContent:
		err = wrapError(object.Name, wrongRange{requested: "everything", got: response.Header.Get("Content-Range")})
	case isRange && !isTotal(response.Header.Get("Content-Range"), object.Size):
		err = changedError(object)
	case object.Tag != "" && response.Header.Get("ETag") != object.Tag:
		err = changedError(object)
	default:
		return response.Body, nil
	}
	return nil, errors.Join(err, response.Body.Close())
}

// Close implements [Source].
func (c *client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

type web struct {
	*client
	uri string
}

const headersRemedy = "correct the key headers of the secret"

// openWeb opens a URL with the headers in a variable that is named after the host, such as
// example.com-headers, as in KServe.
func openWeb(uri string, env Environment) (Source, error) {
	parsed, err := url.Parse(uri)
	if err != nil || parsed.Host == "" {
		return nil, invalid(uri, "it is not an address; write https://host/path")
	}
	source := &web{client: newClient(trust{skipVerify: env.isOff("HTTPS_VERIFY_SSL")}), uri: uri}
	// KServe's variable name has no port.
	if given := cmp.Or(env(parsed.Host+"-headers"), env(parsed.Hostname()+"-headers")); given != "" {
		headers := map[string]string{}
		if err := json.Unmarshal([]byte(given), &headers); err != nil {
			return nil, invalidSetting(uri, headersRemedy, "the headers for %s are not a JSON object of names and values", parsed.Host)
		}
		for name, value := range headers {
			if name == "" || strings.ContainsAny(name, " :\r\n") || strings.ContainsAny(value, "\r\n\x00") {
				return nil, invalidSetting(uri, headersRemedy, "the header %q for %s has a line break, or another character that is not allowed",
					name, parsed.Host)
			}
			source.header.Set(name, value)
		}
	}
	return source, nil
}

// List implements [Source]. It finds out the object's size and whether the server supports ranges.
// A URL that is signed for GET may reject HEAD, so it falls back to reading the first byte.
func (w *web) List(ctx context.Context) ([]Object, error) {
	response, err := w.do(ctx, http.MethodHead, w.uri, nil)
	if status := statusOf(err); status >= http.StatusBadRequest && status < http.StatusInternalServerError || status == http.StatusNotImplemented {
		response, err = w.do(ctx, http.MethodGet, w.uri, http.Header{"Range": {"bytes=0-0"}})
	}
	if statusOf(err) == http.StatusRequestedRangeNotSatisfiable { // The object is empty.
		return []Object{{Name: w.name(), Key: w.uri, Size: unknownSize, Whole: true, Alone: true}}, nil
	}
	if err != nil {
		return nil, wrapError(w.uri, err)
	}
	_ = response.Body.Close()
	tag := response.Header.Get("ETag")
	if !strings.HasPrefix(tag, `"`) {
		tag = "" // A weak ETag does not guarantee identical bytes.
	}
	size, acceptsRanges := response.ContentLength, response.Header.Get("Accept-Ranges") == "bytes"
	if response.StatusCode == http.StatusPartialContent {
		size, acceptsRanges = totalOf(response.Header.Get("Content-Range")), true
	}
	return []Object{{
		Name: w.name(), Key: w.uri, Size: size, Alone: true,
		Tag: tag, Version: cmp.Or(tag, response.Header.Get("Last-Modified")),
		// Without a tag, ranges of two versions could be mixed.
		Whole: !acceptsRanges || size < 0 || tag == "",
	}}, nil
}

// isTotal reports whether the total size in a Content-Range equals size, if both are known.
func isTotal(contentRange string, size int64) bool {
	total := totalOf(contentRange)
	return total == unknownSize || size == unknownSize || total == size
}

// totalOf returns the total size in a Content-Range such as bytes 0-0/1234.
func totalOf(contentRange string) int64 {
	_, total, _ := strings.Cut(contentRange, "/")
	size, err := strconv.ParseInt(total, 10, 64)
	if err != nil {
		return unknownSize // An asterisk, or no header.
	}
	return size
}

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
