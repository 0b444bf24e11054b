//! Writes CSV (RFC 4180) that a spreadsheet can open: what a sender chose must not be run there as a formula.

pub(super) struct Csv {
    text: String,
}

impl Csv {
    pub fn new(columns: &[&str]) -> Self {
        let mut csv = Self { text: String::new() };
        csv.row(columns);
        csv
    }

    pub fn row(&mut self, cells: &[impl AsRef<str>]) {
        for (index, cell) in cells.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            self.cell(cell.as_ref());
        }
        self.text.push_str("\r\n");
    }

    pub fn into_text(self) -> String {
        self.text
    }

    fn cell(&mut self, cell: &str) {
        // spreadsheets skip white space before a formula
        let is_formula = cell.trim_start().starts_with(['=', '+', '-', '@']) || cell.starts_with(['\t', '\r', '\n']);
        let apostrophe = if is_formula { "'" } else { "" };
        if cell.contains([',', '"', '\r', '\n']) {
            self.text.push_str(&format!("\"{apostrophe}{}\"", cell.replace('"', "\"\"")));
        } else {
            self.text.push_str(apostrophe);
            self.text.push_str(cell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_needed_and_formulas_are_text() {
        let mut csv = Csv::new(&["a", "b"]);
        for cells in
            [["1,5", "say \"x\""], ["=1+1", "a=b"], ["-2", "+3"], ["@x", " =\"y\""], ["\tz", "a\nb"], ["", "Ä"]]
        {
            csv.row(&cells);
        }
        let expected = "a,b\r\n\"1,5\",\"say \"\"x\"\"\"\r\n'=1+1,a=b\r\n'-2,'+3\r\n'@x,\"' =\"\"y\"\"\"\r\n'\tz,\"a\nb\"\r\n,Ä\r\n";
        assert_eq!(csv.into_text(), expected);
    }
}
