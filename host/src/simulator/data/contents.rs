//! The invented content of the data set.

pub(super) struct ProjectContent {
    /// The prefix of the keys in the project, such as `SHOP` in `SHOP:1`.
    pub(super) prefix: &'static str,
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) requirements: &'static [&'static str],
    pub(super) test_sets: &'static [&'static str],
    pub(super) cases: Vec<CaseContent>,
}

#[derive(Debug, Clone)]
pub(super) struct CaseContent {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) pre_condition: Option<String>,
    /// The message of the assertion or the step that fails; `None` if the test passes.
    pub(super) failure: Option<String>,
    /// Empty if the test has no variations.
    pub(super) variations: Vec<String>,
    /// Whether all variations of a failing test fail, or only the last one.
    pub(super) all_variations_fail: bool,
    /// Each step of a manual test with its expected result. An automated test has no steps.
    pub(super) steps: &'static [(&'static str, &'static str)],
    pub(super) labels: Vec<String>,
    /// Names and values.
    pub(super) custom_fields: Vec<(String, String)>,
    /// The names of the files of a failed log.
    pub(super) files: Vec<String>,
    /// Number of lines in the robot's log of an automated test.
    pub(super) robot_log_lines: usize,
}

pub(super) fn all_project_contents() -> Vec<ProjectContent> {
    vec![shop_project(), bank_project(), super::odd::odd_project()]
}

fn shop_project() -> ProjectContent {
    ProjectContent {
        prefix: "SHOP",
        name: "Web shop",
        description: "Tests of the public web shop.",
        requirements: &["Customers can pay", "Customers find products", "Invoices are correct"],
        test_sets: &["Nightly regression", "Release 4.2"],
        cases: vec![
            passing_case("Checkout with a valid card")
                .with_description(
                    "Buys one article and pays with a valid card.",
                    "The cart is empty.",
                )
                .failing_with("Expected total 42.00 EUR, but the page showed 42.50 EUR")
                .with_labels(&["checkout", "smoke"])
                .with_files(&["page.html", "trace.json"]),
            passing_case("Checkout refuses an expired card").with_description(
                "Pays with a card that expired last month.",
                "The cart has one article.",
            ),
            passing_case("Search finds products with an umlaut")
                .with_description(
                    "Searches for a name with a special character.",
                    "The catalog is loaded.",
                )
                .failing_with("Expected at least 1 result for \"naïve café\", but found 0")
                .with_variations(&["Müller", "Größe 38", "naïve café"])
                .with_labels(&["search"]),
            passing_case("Cart keeps its articles after sign-in")
                .with_description("Fills the cart, then signs in.", "The customer has an account.")
                .failing_with("Element not found: the cart shows no article after sign-in")
                .with_labels(&["checkout"])
                .with_files(&["browser.log"]),
            passing_case("Invoice shows net and gross amounts")
                .with_description(
                    "Looks at the invoice of an order.",
                    "An order with two tax rates exists.",
                )
                .failing_with("The invoice shows the net amount twice")
                .with_steps(&[
                    ("Open the order", "The order's page is shown"),
                    ("Open the invoice", "The invoice is shown as PDF"),
                    ("Compare the amounts", "Net, tax and gross amounts are shown once each"),
                ]),
            passing_case("Order confirmation is sent once").with_description(
                "Orders an article and reads the customer's mailbox.",
                "The mailbox is empty.",
            ),
        ],
    }
}

fn bank_project() -> ProjectContent {
    ProjectContent {
        prefix: "BANK",
        name: "Online banking",
        description: "Tests of the banking portal.",
        requirements: &["Transfers are booked once", "Sign-in needs two factors"],
        test_sets: &["Daily smoke test"],
        cases: vec![
            passing_case("Transfer between own accounts")
                .with_description(
                    "Transfers 100 from the first to the second account.",
                    "Both have money.",
                )
                .failing_with("Expected balance 1,100.00 USD, but was 1,000.00 USD")
                .with_variations(&["EUR to EUR", "EUR to USD"])
                .with_labels(&["transfer", "smoke"]),
            passing_case("Sign in with a second factor")
                .with_description(
                    "Signs in with a password and a code.",
                    "The customer has a phone.",
                )
                .failing_with("HTTP 503 from https://bank.example/api/codes: the code was not sent")
                .with_labels(&["security"])
                .with_files(&["request.har"]),
            passing_case("Statement downloads as PDF")
                .with_description("Downloads last month's statement.", "A statement exists."),
            passing_case("Standing order on a holiday")
                .with_description(
                    "Checks when a standing order is booked.",
                    "The next due date is a holiday.",
                )
                .failing_with("The order was booked on the holiday")
                .with_steps(&[
                    ("Create a standing order for the holiday", "It is listed"),
                    ("Wait for the booking", "It is booked on the next working day"),
                ]),
        ],
    }
}

pub(super) fn passing_case(name: impl Into<String>) -> CaseContent {
    CaseContent {
        name: name.into(),
        description: None,
        pre_condition: None,
        failure: None,
        variations: Vec::new(),
        all_variations_fail: false,
        steps: &[],
        labels: Vec::new(),
        custom_fields: vec![
            ("Severity".to_owned(), "Major".to_owned()),
            ("Component".to_owned(), "Portal".to_owned()),
        ],
        files: Vec::new(),
        robot_log_lines: 40,
    }
}

impl CaseContent {
    pub(super) fn with_description(mut self, description: &str, pre_condition: &str) -> Self {
        self.description = Some(description.to_owned());
        self.pre_condition = Some(pre_condition.to_owned());
        self
    }

    pub(super) fn failing_with(mut self, message: impl Into<String>) -> Self {
        self.failure = Some(message.into());
        self
    }

    pub(super) fn with_variations(mut self, variations: &[&str]) -> Self {
        self.variations = to_strings(variations);
        self
    }

    pub(super) fn with_labels(mut self, labels: &[&str]) -> Self {
        self.labels = to_strings(labels);
        self
    }

    pub(super) fn with_files(mut self, names: &[&str]) -> Self {
        self.files = to_strings(names);
        self
    }

    fn with_steps(mut self, steps: &'static [(&'static str, &'static str)]) -> Self {
        self.steps = steps;
        self
    }
}

fn to_strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
