//! Days of the proleptic Gregorian calendar, counted from 1970-01-01.
//!
//! Howard Hinnant's algorithms, <https://howardhinnant.github.io/date_algorithms.html>: years begin in March, so that the
//! odd day is the last of one, and four hundred of them, an era, always have the same number of days.

const ERA: i64 = 146_097;
/// From the first of March of the year 0.
const EPOCH: i64 = 719_468;

/// The count of a day. Months and days are not checked: the fortieth is ten days into the next month.
pub fn to_days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    year.div_euclid(400) * ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH
}

/// Year, month and day of a count.
pub fn of_days(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH;
    let of_era = days.rem_euclid(ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + days.div_euclid(ERA) * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_eight_centuries_follows_the_one_before() {
        let mut before = of_days(-150_001);
        for days in -150_000..150_000 {
            let (year, month, day) = of_days(days);
            let next = match before {
                (y, 12, 31) => (y + 1, 1, 1),
                (y, m, d) if (m, d) == (year, month) || month == m => (y, m, d + 1),
                (y, m, _) => (y, m + 1, 1),
            };
            assert_eq!((year, month, day), next);
            assert_eq!(to_days(year, month, day), days);
            before = next;
        }
        assert_eq!(of_days(0), (1970, 1, 1));
        assert_eq!(to_days(2000, 2, 29), 11_016);
        assert_eq!(of_days(to_days(2100, 2, 29)), (2100, 3, 1));
    }
}
