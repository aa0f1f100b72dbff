/* What an XML reader needs of the XML that fillmark writes. */
#ifndef FM_TESTS_RESULTS_SUPPORT_XML_H
#define FM_TESTS_RESULTS_SUPPORT_XML_H

/* tags open and close in order, attributes are quoted, no bare ampersand; asserts */
void fm_test_xml(const char *text);

#endif
