// Copyright The Serinus Authors.
// SPDX-License-Identifier: Apache-2.0

package storage

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"cloud.google.com/go/compute/metadata"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"
)

// statusError is an answer of a web server with another status than the expected one.
type statusError struct{ code int }

func (e statusError) Error() string {
	return fmt.Sprintf("the server answers %d %s", e.code, http.StatusText(e.code))
}

// refusal is such an answer of any store, with the store's own code and message.
type refusal struct {
	status int
	// code is the store's name for the error, such as NoSuchBucket.
	code, message string
	// location is where a redirect leads to.
	location string
	// host is the server that refuses, where a redirect has led to it.
	host string
	// remedy is what to do, where more is known than the code and the status.
	remedy string
}

func (r refusal) Error() string {
	text := statusError{r.status}.Error()
	if r.host != "" {
		text = "after a redirect to " + r.host + ", " + text
	}
	if r.location != "" {
		text += ", and redirects to " + Redacted(r.location)
	}
	isTold := func(part string) bool {
		return part == "" || strings.EqualFold(strings.ReplaceAll(part, " ", ""), strings.ReplaceAll(http.StatusText(r.status), " ", ""))
	}
	if !isTold(r.code) {
		text += " (" + r.code + ")"
	}
	if !isTold(r.message) && r.message != r.code {
		text += ": " + strings.TrimSuffix(r.message, ".") // More follows in the same sentence.
	}
	return text
}

func (r refusal) Unwrap() error { return statusError{r.status} }

// refusalOf finds what a store, or the issuer of its credentials, has answered.
func refusalOf(err error) (refusal, bool) {
	if own, is := errors.AsType[refusal](err); is {
		return own, true
	}
	if own, is := errors.AsType[statusError](err); is {
		return refusal{status: own.code}, true
	}
	if google, is := errors.AsType[*googleapi.Error](err); is {
		refused := refusal{status: google.Code, message: google.Message, location: google.Header.Get("Location")}
		if len(google.Errors) > 0 {
			refused.code = google.Errors[0].Reason
		} else { // Lists are in JSON, and objects are read in XML.
			refused.code, refused.message = described(google.Body)
		}
		return refused, true
	}
	amazon, isAmazon := errors.AsType[*smithyhttp.ResponseError](err)
	if isAmazon && amazon.Response != nil && amazon.HTTPStatusCode() >= http.StatusMultipleChoices {
		refused := refusal{status: amazon.HTTPStatusCode(), location: amazon.Response.Header.Get("Location")}
		if api, is := errors.AsType[smithy.APIError](err); is {
			refused.code, refused.message = api.ErrorCode(), strings.TrimSuffix(api.ErrorMessage(), "UnknownError")
		}
		return refused, true
	}
	if azure, is := errors.AsType[*azcore.ResponseError](err); is {
		refused := refusal{status: azure.StatusCode, code: azure.ErrorCode}
		if azure.RawResponse != nil {
			refused.location = azure.RawResponse.Header.Get("Location")
		}
		return refused, true
	}
	return issuerRefusal(err)
}

// tokenStatus is how Google's client reports the answer of a token service.
var tokenStatus = regexp.MustCompile(`(?s)oauth2/google[\w/]*: status code (\d{3}): (.*)`)

// issuerRefusal finds what the issuer of credentials has answered.
func issuerRefusal(err error) (refusal, bool) {
	var amazon interface{ HTTPStatusCode() int }
	if errors.As(err, &amazon) && amazon.HTTPStatusCode() >= http.StatusMultipleChoices {
		return refusal{status: amazon.HTTPStatusCode()}, true
	}
	if token, is := errors.AsType[*oauth2.RetrieveError](err); is && token.Response != nil {
		return refusal{
			status: token.Response.StatusCode, code: token.ErrorCode, message: cmp.Or(token.ErrorDescription, firstLine(string(token.Body))),
		}, true
	}
	if server, is := errors.AsType[*metadata.Error](err); is {
		return refusal{status: server.Code, message: firstLine(server.Message)}, true
	}
	if azure, is := errors.AsType[*azidentity.AuthenticationFailedError](err); is && azure.RawResponse != nil {
		return refusal{status: azure.RawResponse.StatusCode, message: firstLine(azure.Error())}, true
	}
	if match := tokenStatus.FindStringSubmatch(err.Error()); match != nil {
		status, _ := strconv.Atoi(match[1])
		code, message := described(match[2])
		return refusal{status: status, code: code, message: message}, true
	}
	return refusal{}, false
}

// described finds a code and a message in the body of an answer, in the forms that stores use.
func described(body string) (code, message string) {
	var inXML struct {
		Code    string `xml:"Code"`
		Message string `xml:"Message"`
	}
	if xml.Unmarshal([]byte(body), &inXML) == nil && inXML.Code != "" {
		return inXML.Code, firstLine(inXML.Message)
	}
	var inJSON struct {
		Error       json.RawMessage `json:"error"`
		Description string          `json:"error_description"`
	}
	if json.Unmarshal([]byte(body), &inJSON) != nil {
		return "", firstLine(body)
	}
	var nested struct {
		Message string `json:"message"`
		Status  string `json:"status"`
	}
	if json.Unmarshal(inJSON.Error, &nested) == nil {
		return nested.Status, firstLine(nested.Message)
	}
	if json.Unmarshal(inJSON.Error, &code) != nil || strings.Contains(code, " ") {
		return "", firstLine(cmp.Or(inJSON.Description, code))
	}
	return code, firstLine(inJSON.Description)
}

// firstLine bounds the text that a server sends; it may be a whole page.
func firstLine(text string) string {
	const longest = 200
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if strings.HasPrefix(line, "<") {
		return ""
	}
	return strings.ToValidUTF8(line[:min(len(line), longest)], "")
}

// statusOf returns the HTTP status of the answer, or 0.
func statusOf(err error) int {
	if err == nil {
		return 0
	}
	refused, _ := refusalOf(err)
	return refused.status
}

// diagnosis is the kind of an error, with what to do if the kind's own advice is too general.
type diagnosis struct {
	kind   Kind
	remedy string
}

const (
	// rangeRemedy is for servers that send another range than the requested one.
	rangeRemedy   = "check the caches and proxies in front of the server; it is tried again"
	againRemedy   = "it is tried again"
	expiredRemedy = "the credentials have expired: renew them in the secret"
	clockRemedy   = "correct the clock of the node: the store compares it with its own"
	billedRemedy  = "the bucket bills its readers: grant the account serviceusage.services.use on a project, or copy the model"
	regionRemedy  = "set the region of the bucket: the annotation serving.kserve.io/s3-region of the secret, or region in storage-config"
)

// codes are the errors that the stores' own codes explain better than the status does.
var codes = map[string]diagnosis{
	// S3, and Amazon's issuer of credentials.
	"NoSuchBucket":                       {Missing, "check the bucket in storageUri, and the endpoint"},
	"NoSuchKey":                          {Missing, ""},
	"InvalidBucketName":                  {Invalid, "correct the bucket in storageUri"},
	"AccessDenied":                       {Forbidden, "the credentials are valid, but lack a right: allow them to list and read the objects (in S3: s3:ListBucket, s3:GetObject)"},
	"InvalidAccessKeyId":                 {Forbidden, "the store does not know the access key: correct AWS_ACCESS_KEY_ID in the secret, and check the endpoint"},
	"SignatureDoesNotMatch":              {Forbidden, "the secret key does not belong to the access key: correct AWS_SECRET_ACCESS_KEY in the secret"},
	"ExpiredToken":                       {Forbidden, expiredRemedy},
	"ExpiredTokenException":              {Forbidden, "the token of the ServiceAccount has expired: check that the kubelet renews it, and restart the pod"},
	"TokenRefreshRequired":               {Forbidden, expiredRemedy},
	"RequestExpired":                     {Forbidden, clockRemedy},
	"InvalidToken":                       {Forbidden, "the session token is not valid: correct AWS_SESSION_TOKEN"},
	"InvalidIdentityToken":               {Forbidden, "register the cluster's issuer as an identity provider of the role, and check the role's trust policy"},
	"RequestTimeTooSkewed":               {Forbidden, clockRemedy},
	"AccountProblem":                     {Forbidden, "the account of the store is disabled: ask its administrator"},
	"AllAccessDisabled":                  {Forbidden, "access to the bucket is disabled: ask its administrator"},
	"UserSuspended":                      {Forbidden, "the account of the store is suspended: ask its administrator"},
	"PermanentRedirect":                  {Redirected, regionRemedy + "; or remove the endpoint"},
	"TemporaryRedirect":                  {Redirected, regionRemedy},
	"AuthorizationHeaderMalformed":       {Invalid, regionRemedy},
	"IllegalLocationConstraintException": {Invalid, regionRemedy},
	"InvalidObjectState":                 {Invalid, "the object is archived: restore it, or move it to a class of storage that can be read"},
	"RequestTimeout":                     {Unavailable, againRemedy},
	"IDPCommunicationError":              {Unavailable, againRemedy},
	"Throttling":                         {Unavailable, busyRemedy},
	"ThrottlingException":                {Unavailable, busyRemedy},
	"SlowDown":                           {Unavailable, busyRemedy},

	// Google Cloud Storage, and Google's issuer of tokens.
	"accountDisabled":           {Forbidden, "the account, or the project of the bucket, is disabled: ask its administrator"},
	"userAccountDisabled":       {Forbidden, "the account of the credentials is disabled: ask its administrator"},
	"forbidden":                 {Forbidden, "grant the account of the credentials the role Storage Object Viewer on the bucket"},
	"rateLimitExceeded":         {Unavailable, busyRemedy},
	"userRateLimitExceeded":     {Unavailable, busyRemedy},
	"quotaExceeded":             {Unavailable, busyRemedy},
	"userProjectMissing":        {Forbidden, billedRemedy},
	"userProjectAccountProblem": {Forbidden, "the project that is billed has no billing account"},
	"invalid_grant":             {Forbidden, "the key is deleted or expired, or the node's clock is wrong: create a new key, and check the clock"},
	"invalid_client":            {Forbidden, "the account of the credentials does not exist: create a new key"},
	"unauthorized_client":       {Forbidden, "the account may not ask for a token: check its roles"},
	"invalid_target":            {Forbidden, "check audience in the credentials file: the workload identity pool and provider"},
	"authError":                 {Forbidden, "the token is not valid or has expired: create a new key"},
	"UserProjectAccessDenied":   {Forbidden, "the account may not use the project that is billed"},
	"UserProjectInvalid":        {Forbidden, "the project that is billed does not exist"},
	"UserProjectMissing":        {Forbidden, billedRemedy},
	"UserProjectAccountProblem": {Forbidden, "the project that is billed has no billing account"},

	// Azure Blob Storage.
	"ContainerNotFound":                  {Missing, "check the container in storageUri"},
	"ContainerBeingDeleted":              {Missing, "the container is being deleted: check storageUri"},
	"BlobNotFound":                       {Missing, ""},
	"InvalidResourceName":                {Invalid, "correct the container in storageUri"},
	"OutOfRangeInput":                    {Invalid, "correct the container in storageUri"},
	"InvalidUri":                         {Invalid, ""},
	"AuthenticationFailed":               {Forbidden, "check that AZURE_STORAGE_ACCESS_KEY is a key of this account, that a signature (SAS) or token has not expired, and the node's clock"},
	"InvalidAuthenticationInfo":          {Forbidden, "the token is not valid or has expired: renew it in the secret"},
	"AuthorizationFailure":               {Forbidden, "the account's firewall or the rights of the signature refuse it: allow the cluster's network in the account"},
	"AuthorizationPermissionMismatch":    {Forbidden, "give the identity the role Storage Blob Data Reader on the container"},
	"AuthorizationProtocolMismatch":      {Forbidden, "the signature (SAS) does not allow this protocol"},
	"AuthorizationSourceIPMismatch":      {Forbidden, "the signature (SAS) does not allow the addresses of the cluster"},
	"KeyBasedAuthenticationNotPermitted": {Forbidden, "the account does not allow keys: use an identity (AZURE_CLIENT_ID)"},
	"AccountIsDisabled":                  {Forbidden, "the storage account is disabled: ask its administrator"},
	"PublicAccessNotPermitted":           {Forbidden, noCredentialsRemedy},
	"NoAuthenticationInformation":        {Forbidden, noCredentialsRemedy},
	"BlobArchived":                       {Invalid, "the blob is archived: rehydrate it, or move it to a tier that can be read"},
	"ServerBusy":                         {Unavailable, busyRemedy},
	"AccountBeingCreated":                {Unavailable, againRemedy},

	// The Hugging Face Hub.
	"RepoNotFound":     {Missing, "check storageUri; for a private or gated repository, put a token with access to it into a secret of the ServiceAccount (HF_TOKEN)"},
	"GatedRepo":        {Forbidden, "accept the conditions on the model's page with the account of HF_TOKEN, and wait for access to be granted"},
	"RevisionNotFound": {Missing, "check the revision in storageUri"},
	"EntryNotFound":    {Missing, ""},
	"DisabledRepo":     {Forbidden, "the Hub has disabled the repository"},
}

const (
	busyRemedy = "the store limits how often it is asked; it is tried again"
	// noCredentialsRemedy is for what was asked for without credentials.
	noCredentialsRemedy = "it was asked for without credentials, as none are configured: add a secret with some to the ServiceAccount, " +
		"and check that it holds the keys that this store needs"
)

func (r refusal) diagnose() diagnosis {
	found := r.explain()
	found.remedy = cmp.Or(r.remedy, found.remedy)
	return found
}

func (r refusal) explain() diagnosis {
	if known, is := codes[r.code]; is && r.location == "" {
		return known
	}
	if strings.Contains(r.message, "requester pays") {
		return codes["userProjectMissing"]
	}
	switch status := r.status; {
	case status >= http.StatusMultipleChoices && status < http.StatusBadRequest:
		return diagnosis{kind: Redirected}
	case status == http.StatusNotFound, status == http.StatusGone:
		return diagnosis{kind: Missing}
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return diagnosis{kind: Forbidden}
	case status == http.StatusProxyAuthRequired:
		return diagnosis{Forbidden, "the proxy asks for credentials: check HTTPS_PROXY"}
	case status == http.StatusTooManyRequests:
		return diagnosis{Unavailable, busyRemedy}
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		return diagnosis{Unavailable, againRemedy}
	case status == http.StatusPreconditionFailed, status == http.StatusRequestedRangeNotSatisfiable:
		return diagnosis{kind: Corrupt} // It has changed since it was listed.
	case status < http.StatusInternalServerError:
		return diagnosis{Invalid, "the store refuses the request: check storageUri, the endpoint and the credentials"}
	}
	return diagnosis{kind: Unavailable}
}

// errTooManyRedirects ends a circle.
var errTooManyRedirects = errors.New("too many redirects")

func diagnose(err error) diagnosis {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return diagnosis{kind: NoSpace}
	}
	if refused, is := refusalOf(err); is {
		return refused.diagnose()
	}
	if errors.Is(err, errTooManyRedirects) {
		return diagnosis{kind: Redirected}
	}
	if _, is := errors.AsType[wrongRange](err); is {
		return diagnosis{Unavailable, rangeRemedy}
	}
	if remedy := tlsRemedy(err); remedy != "" {
		return diagnosis{Unreachable, remedy}
	}
	_, isPath := errors.AsType[*fs.PathError](err)
	_, isLink := errors.AsType[*os.LinkError](err)
	switch {
	case isPath, isLink:
		return diagnosis{kind: Unwritable}
	case isNetwork(err):
		return diagnosis{kind: Unreachable}
	}
	return diagnosis{kind: Unavailable}
}

// tlsRemedy returns the remedy for a server whose certificate or protocol is not accepted.
func tlsRemedy(err error) string {
	_, isCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, isRecord := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case isCertificate, isUnknown:
		return "check the server's certificate; to trust your own authority for S3, " +
			"set the annotation serving.kserve.io/s3-cabundle-configmap of the secret"
	case isRecord, errors.Is(err, http.ErrSchemeMismatch):
		return "the server does not speak HTTPS: write http:// in the address, or set serving.kserve.io/s3-usehttps to \"0\""
	}
	return ""
}

// isNetwork reports whether there was no answer, or it ended early.
func isNetwork(err error) bool {
	if failed, is := errors.AsType[*url.Error](err); is {
		err = failed.Err // By itself it is an error of the network, whatever it holds.
	}
	_, isNet := errors.AsType[net.Error](err)
	_, isSilent := errors.AsType[silence](err)
	_, isErrno := errors.AsType[syscall.Errno](err)
	return isNet || isSilent || isErrno ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded)
}
