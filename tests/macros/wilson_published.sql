-- Intervals of method 3 in R. G. Newcombe, "Two-sided confidence intervals for the single
-- proportion", Statistics in Medicine 17 (1998), table I.
with published (numerator, denominator, low, high) as (
    values
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0000, 0.1611),
    (1, 29, 0.0061, 0.1718)
)

select *
from published
where
    abs({{ perennial.wilson('low', 'numerator', 'denominator') }} - low) > 0.00005
    or abs({{ perennial.wilson('high', 'numerator', 'denominator') }} - high) > 0.00005

union all

-- Nobody asked: no interval.
select
    0 as numerator,
    0 as denominator,
    0.0 as low,
    0.0 as high
where {{ perennial.wilson('low', '0', '0') }} is not null
