{%- set z = 1.959963984540054 -%}
{%- set given = perennial.setting('compared_from') -%}
{%- set moment = perennial.text_as_timestamp("'" ~ given ~ "'") -%}
{%- set compared_from = perennial.local_date(moment) if given is not none
    else perennial.add_days('as_of_on', -180) -%}
-- Both sides are as long as what has passed since the date, a year at most. What needs time to
-- be seen is asked of people whose time was over on the same side.
with dates as (
    select
        as_of_on,
        compared_from,
        least(cast(as_of_on - compared_from as integer), 365) as n_days
    from (
        select
            as_of_on,
            {{ compared_from }} as compared_from
        from {{ ref('clock') }}
    )
),

sides as (
    select
        'before' as side,
        {{ perennial.add_days('compared_from', '-n_days') }} as from_on,
        compared_from as until_on,
        as_of_on
    from dates
    where n_days > 0
    union all
    select
        'after' as side,
        compared_from as from_on,
        {{ perennial.add_days('compared_from', 'n_days') }} as until_on,
        as_of_on
    from dates
    where n_days > 0
),

first_orders as (
    select
        first_ordered_on,
        customer_id
    from {{ ref('customers') }}
    where first_ordered_on is not null
),

orders as (
    select
        customer_id,
        ordered_on,
        order_number,
        net_amount
    from {{ ref('orders') }}
    where
        customer_id is not null
        and not is_cancelled
),

newcomers as (
    select
        sides.side,
        count(seconds.customer_id) as n_back,
        count(*) as n_customers
    from sides
    inner join first_orders
        on
            sides.from_on <= first_orders.first_ordered_on
            and {{ perennial.add_days('first_orders.first_ordered_on', 30) }}
            < sides.until_on
    left join orders as seconds
        on
            first_orders.customer_id = seconds.customer_id
            and seconds.order_number = 2
            and {{ perennial.add_days('first_orders.first_ordered_on', 30) }}
            >= seconds.ordered_on
    group by all
),

-- The fifth of a year's customers who spent most, and who of them stays away in the next year.
years as (
    select
        'before' as side,
        {{ perennial.add_days('compared_from', -730) }} as from_on,
        {{ perennial.add_days('compared_from', -365) }} as judged_on,
        compared_from as until_on
    from dates
    union all
    select
        'after' as side,
        {{ perennial.add_days('compared_from', -365) }} as from_on,
        compared_from as judged_on,
        {{ perennial.add_days('compared_from', 365) }} as until_on
    from dates
),

spending as (
    select
        years.side,
        orders.customer_id,
        sum(orders.net_amount) filter (where orders.ordered_on < years.judged_on)
            as net_amount,
        count_if(orders.ordered_on >= years.judged_on) as n_later_orders
    from years
    cross join dates
    inner join orders
        on
            years.from_on <= orders.ordered_on
            and years.until_on > orders.ordered_on
    -- A year that has not passed, or that the shop does not know, says nothing.
    where
        years.until_on <= dates.as_of_on
        and years.from_on >= (
            select min(earlier.first_ordered_on) from first_orders as earlier
        )
    group by all
),

fifths as (
    select
        *,
        ntile(5) over (
            partition by side
            order by net_amount desc nulls last, customer_id asc nulls last
        ) as fifth
    from spending
    where net_amount > 0
),

leavers as (
    select
        side,
        count_if(n_later_orders = 0) as n_gone,
        count(*) as n_customers
    from fifths
    where fifth = 1
    group by all
),

satisfied as (
    select
        sides.side,
        count_if(reviews.rating >= 4) as n_satisfied,
        count(*) as n_reviews
    from sides
    inner join {{ ref('reviews') }} as reviews
        on
            sides.from_on <= reviews.reviewed_on
            and sides.until_on > reviews.reviewed_on
    group by all
),

days as (
    select
        calendar.day_on,
        count(distinct activity_days.customer_id) as n_active
    from {{ ref('calendar') }} as calendar
    left join {{ ref('activity_days') }} as activity_days
        on
            calendar.day_on = activity_days.occurred_on
            and activity_days.activity in ('order', 'visit')
    where calendar.grain = 'day'
    group by all
),

-- Days resemble their neighbours: the spread is taken between weeks.
weeks as (
    select
        sides.side,
        floor(cast(days.day_on - sides.from_on as integer) / 7) as week_number,
        sum(days.n_active) as n_active_days,
        count(*) as n_days
    from sides
    inner join days
        on
            sides.from_on <= days.day_on
            and sides.until_on > days.day_on
            and sides.as_of_on > days.day_on
    group by all
),

daily as (
    select
        side,
        sum(n_active_days) as n_active_days,
        sum(n_days) as n_days,
        count_if(n_days = 7) as n_weeks,
        cast(sum(n_active_days) filter (where n_days = 7) as double) as week_sum,
        cast(sum(n_active_days * n_active_days) filter (where n_days = 7) as double)
            as week_squares
    from weeks
    group by all
),

shares as (
    select
        'back_within_30_days' as figure,
        side,
        n_back as numerator,
        n_customers as denominator
    from newcomers
    union all
    select
        'high_value_churn' as figure,
        side,
        n_gone as numerator,
        n_customers as denominator
    from leavers
    union all
    select
        'satisfied_reviews' as figure,
        side,
        n_satisfied as numerator,
        n_reviews as denominator
    from satisfied
),

figures as (
    select
        figure,
        side,
        numerator,
        denominator,
        cast(numerator as double) / denominator as value,
        {{ perennial.wilson('low', 'numerator', 'denominator') }} as low,
        {{ perennial.wilson('high', 'numerator', 'denominator') }} as high
    from shares
    union all
    select
        'daily_active_customers' as figure,
        side,
        n_active_days as numerator,
        n_days as denominator,
        cast(n_active_days as double) / n_days as value,
        cast(n_active_days as double) / n_days - error as low,
        cast(n_active_days as double) / n_days + error as high
    from (
        select
            *,
            case
                when n_weeks > 1
                    then {{ z }} / 7 * sqrt(
                        (week_squares - week_sum * week_sum / n_weeks)
                        / (n_weeks - 1) / n_weeks
                    )
            end as error
        from daily
    )
),

names as (
    {%- for figure, unit, label, explanation in [
        ('back_within_30_days', 'share', 'New customers back within 30 days',
         'Of customers whose first order and the 30 days after it lie on the side, those who'
         ~ ' ordered again within them.'),
        ('high_value_churn', 'share', 'Yearly churn of high-value customers',
         'Of the fifth who spent most in a year, those without an order in the year after; before,'
         ~ ' that year ends at the date, after, it begins there.'),
        ('daily_active_customers', 'customers', 'Daily active customers',
         'Known customers with an order or a visit, on a mean day of the side.'),
        ('satisfied_reviews', 'share', 'Satisfied reviews', 'Reviews of the side with four or'
         ~ ' five stars.'),
    ] %}
    select
        {{ loop.index }} as figure_number,
        '{{ figure }}' as figure,
        '{{ label }}' as label,
        '{{ unit }}' as unit,
        '{{ explanation }}' as explanation
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

compared as (
    select
        names.figure_number,
        names.figure,
        names.label,
        names.unit,
        names.explanation,
        {%- for side in ['before', 'after'] %}
        {%- for column in ['numerator', 'denominator', 'value', 'low', 'high'] %}
        max(figures.{{ column }}) filter (
            where figures.side = '{{ side }}'
        ) as {{ column }}_{{ side }},
        {%- endfor %}
        {%- endfor %}
        count(figures.side) as n_sides
    from names
    left join figures
        on names.figure = figures.figure
    group by all
),

-- The interval of a difference out of the two intervals (R. G. Newcombe, "Interval estimation for
-- the difference between independent proportions", Statistics in Medicine 17, 1998, method 10).
differences as (
    select
        *,
        value_after - value_before as difference,
        value_after - value_before - sqrt(
            power(value_after - low_after, 2) + power(high_before - value_before, 2)
        ) as difference_low,
        value_after - value_before + sqrt(
            power(high_after - value_after, 2) + power(value_before - low_before, 2)
        ) as difference_high
    from compared
)

select
    cast(differences.figure_number as integer) as figure_number,
    cast(differences.figure as string) as figure,
    cast(differences.label as string) as label,
    cast(differences.unit as string) as unit,
    cast(dates.compared_from as date) as compared_from,
    {%- for side in ['before', 'after'] %}
    cast(differences.numerator_{{ side }} as bigint) as numerator_{{ side }},
    cast(differences.denominator_{{ side }} as bigint) as denominator_{{ side }},
    cast(differences.value_{{ side }} as double) as value_{{ side }},
    cast(differences.low_{{ side }} as double) as low_{{ side }},
    cast(differences.high_{{ side }} as double) as high_{{ side }},
    {%- endfor %}
    cast(differences.difference as double) as difference,
    cast(differences.difference_low as double) as difference_low,
    cast(differences.difference_high as double) as difference_high,
    cast(
        differences.difference_low > 0 or differences.difference_high < 0 as boolean
    ) as is_more_than_noise,
    cast(differences.explanation as string) as explanation
from differences
cross join dates
