{#-
After the last model: say what was refused, and where it was too much. (What stops the models
downstream of such a table is the test enough_is_staged.)

Arguments:
  results  what dbt ran, as on-run-end gives it
-#}
{% macro report_quarantine(results) %}
    {% if not execute or flags.WHICH not in ['build', 'run'] %}
        {% do return('') %}
    {% endif %}
    {% set built = {} %}
    {% for result in results if result.status == 'success' and result.node.resource_type == 'model' %}
        {% do built.update({result.node.name: result.node.relation_name}) %}
    {% endfor %}
    {% if 'quarantine' not in built %}
        {% do return('') %}
    {% endif %}
    {% set allowed = perennial.setting('max_quarantine_share') %}
    {% set refused = {} %}
    {% for table, reason, n in run_query('select table_name, reason, count(*) as n from '
        ~ built['quarantine'] ~ ' group by all order by table_name, reason').rows %}
        {% do refused.setdefault(table, []).append((n, reason)) %}
    {% endfor %}
    {% for table, counts in refused.items() if 'stg_' ~ table in built %}
        {% set n_refused = counts | sum(attribute=0) %}
        {% set reasons = [] %}
        {% for n, reason in counts %}{% do reasons.append(n ~ ' ' ~ reason) %}{% endfor %}
        {% set reasons = reasons | join(', ') %}
        {% set n_staged = run_query('select count(*) from ' ~ built['stg_' ~ table]).rows[0][0] %}
        {% set n_rows = n_staged + n_refused %}
        {% set said = table ~ ': ' ~ n_refused ~ ' of ' ~ n_rows ~ ' rows ('
            ~ '%.1f' | format(100 * n_refused / n_rows) ~ ' %) were refused' %}
        {% if n_refused > allowed * n_rows %}
            {% do exceptions.warn(said ~ ', more than the setting max_quarantine_share allows ('
                ~ '%.1f' | format(100 * allowed) ~ ' %), so nothing was built on them: ' ~ reasons
                ~ '. Look at ' ~ built['quarantine'] ~ ', mend the feed or raise the setting.') %}
        {% else %}
            {% do log(said ~ ': ' ~ reasons, info=true) %}
        {% endif %}
    {% endfor %}
    {% do return('') %}
{% endmacro %}
