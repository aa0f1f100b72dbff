/* Texts from anywhere in XML, SVG and HTML. */
#ifndef FM_RESULTS_XML_H
#define FM_RESULTS_XML_H

#include "tuner/base/buf.h"

/* Appends the text for an element or a quoted attribute: the five characters XML gives another meaning are escaped, what
 * fm_put_plain() takes out is '?'. Failures are sticky, as a buffer's. */
void fm_put_xml(struct fm_buf *out, const char *text);

#endif
